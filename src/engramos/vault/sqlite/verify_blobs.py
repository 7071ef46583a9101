"""Check of the blobs: each is there and whole, and none is left that nobody uses."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from engramos.clock import now_us
from engramos.errors import BlobError
from engramos.rows import Finding
from engramos.vault.blobs import BlobStore, tenant_key
from engramos.vault.sqlite.audit import Audit

MIN_AGE_S = 3_600.0
"""Younger files may belong to a write that has not ended yet."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
IsUsed = Callable[[str, str], bool]


def check_blobs(audit: Audit, store: BlobStore, is_used_now: IsUsed) -> Iterator[Finding]:
    """Yield blobs of a tenant that are missing, damaged, or used by no version for an hour.

    Args:
        audit: of the tenant.
        store: the blobs of all tenants.
        is_used_now: asks the newest state, because a blob may be erased while an older state is read.
    """
    for (digest,) in audit.rows("blobs"):
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            continue  # the version that names it is damaged, and reported
        audit.counts["blobs"] += 1
        found = digest_of(store, audit.tenant, digest)
        if found != digest and is_used_now(audit.tenant, digest):
            problem = "it is missing" if found is None else "its bytes are not those of its digest"
            yield Finding("blob", f"{digest} of {audit.tenant}", problem)
    for digest in store.digests(audit.tenant):
        if not is_used_now(audit.tenant, digest) and age_s(store, audit.tenant, digest) >= MIN_AGE_S:
            yield Finding("blob", f"{digest} of {audit.tenant}", "no version uses it")


def digest_of(store: BlobStore, tenant: str, digest: str) -> str | None:
    """Return the SHA-256 of the bytes that a blob has now, or None where it cannot be read."""
    try:
        with store.open(tenant, digest) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (BlobError, OSError):
        return None


def age_s(store: BlobStore, tenant: str, digest: str) -> float:
    """Return how long ago a blob was written, in seconds; 0 where it is gone."""
    with suppress(BlobError, OSError), store.open(tenant, digest) as file:
        return (now_us() * 1_000 - os.fstat(file.fileno()).st_mtime_ns) / 1e9
    return 0.0


def check_leftovers(store: BlobStore, tenants: Sequence[str]) -> Iterator[Finding]:
    """Yield files of writes that never ended, and folders of tenants that are not known."""
    for path in store.leftovers(MIN_AGE_S):
        yield Finding("blob", str(path), "a write that never ended left it")
    for key in sorted(set(store.tenants()) - {tenant_key(tenant) for tenant in tenants}):
        folder = store.folder / key
        old_ns = now_us() * 1_000 - int(MIN_AGE_S * 1e9)
        if any(path.is_file() and path.stat().st_mtime_ns <= old_ns for path in folder.rglob("*")):
            yield Finding("blob", str(folder), "it belongs to no tenant here")
