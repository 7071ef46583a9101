"""Bringing back blobs that are missing or damaged, and dropping those that nobody uses."""

from contextlib import suppress
from pathlib import Path

from engramos.errors import BlobError, CorruptPayloadError
from engramos.vault.blobs import BlobStore
from engramos.vault.durable import disk_errors
from engramos.vault.sqlite.audit import damaged, is_text
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.vault import SqliteVault
from engramos.vault.sqlite.verify_blobs import MIN_AGE_S, age_s, digest_of


def restore(vault: SqliteVault, tenant: str, source: Path | None) -> None:
    """Copy a tenant's missing and damaged blobs out of a backup, and erase those that no version uses."""
    with damaged(vault) as connection:
        used = {row[0] for row in connection.execute(sql("blobs"), {"tenant": tenant}) if is_text(row[0])}
    if source is not None:
        saved = BlobStore(source / "blobs")
        for digest in sorted(used):
            # a blob that the backup lacks too stays reported
            with suppress(BlobError, CorruptPayloadError, ValueError):
                if digest_of(vault.blobs, tenant, digest) != digest:
                    vault.blobs.put(tenant, saved.read(tenant, digest))
    for digest in vault.blobs.digests(tenant):
        if digest not in used and age_s(vault.blobs, tenant, digest) >= MIN_AGE_S:
            vault.blobs.erase(tenant, digest)


def drop_leftovers(vault: SqliteVault) -> None:
    """Remove the files of writes that never ended."""
    for path in vault.blobs.leftovers(MIN_AGE_S):
        with disk_errors(BlobError, f"removing {path}"):
            path.unlink(missing_ok=True)
