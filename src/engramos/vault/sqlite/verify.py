"""Checking a whole vault: everything that can be derived again is, and compared with what is stored.

What has no second source cannot be checked for altered bytes, only for being possible: counts of uses, jobs, the salts
and digests of idempotency keys, and the list of backups.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from engramos.errors import translate
from engramos.rows import Finding
from engramos.scope import check_name
from engramos.vault.sqlite import verify_text
from engramos.vault.sqlite.audit import UNREADABLE, Audit, damaged
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.vault import SqliteVault
from engramos.vault.sqlite.verify_blobs import check_blobs, check_leftovers
from engramos.vault.sqlite.verify_cubes import check_cubes, check_jobs, check_lineage, check_usage, check_vectors
from engramos.vault.sqlite.verify_journal import check_idempotency, check_journal, check_tombstones

MAX_FINDINGS = 10_000
"""More are not listed: memory stays bounded, whatever is broken."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check found."""

    findings: tuple[Finding, ...]
    counts: Counter[str]


def verify_vault(vault: SqliteVault, fingerprint: str | None = None) -> Verified:
    """Check every row of every tenant and every blob, in one state of the file, while others read and write.

    Rows are streamed; memory does not grow with the vault but by users and blobs.

    Args:
        vault: the vault.
        fingerprint: of the embedder whose vectors every searched cube must have; None asks for none.

    Raises:
        StoreError: if the file cannot be opened.
    """
    counts: Counter[str] = Counter()
    what = f"verifying {vault.path}"
    with translate(vault.errors, what, next_step="restore it from a backup"), damaged(vault) as connection:
        found = _findings(connection, vault, fingerprint, counts)
        findings = tuple(islice(found, MAX_FINDINGS))
        if next(found, None) is not None:
            findings += (Finding("database", str(vault.path), f"these {MAX_FINDINGS} are not all: repair, and verify"),)
    return Verified(findings, counts)


def _findings(connection: Any, vault: SqliteVault, fingerprint: str | None, counts: Counter[str]) -> Iterator[Finding]:
    errors = tuple(vault.errors)
    guarded = partial(_guarded, errors)
    yield from guarded("the full-text index", lambda: verify_text.check_structure(connection, errors))
    verify_text.prepare(connection)
    connection.execute("BEGIN")
    yield from guarded("the file", lambda: _check_file(connection))
    tenants: list[str] = []
    yield from guarded("the tenants", lambda: _read_tenants(connection, tenants))
    embedders: dict[int, bool] = {}
    audits = [Audit(connection, tenant, counts) for tenant in tenants]
    yield from guarded("the embedders", lambda: _check_embedders(connection, fingerprint, embedders, audits))
    is_used_now = partial(_is_used, vault)
    for audit in audits:
        checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
            ("journal", lambda audit=audit: check_journal(audit)),
            ("tombstones", lambda audit=audit: check_tombstones(audit)),
            ("cubes", lambda audit=audit: check_cubes(audit)),
            ("lineage", lambda audit=audit: check_lineage(audit)),
            ("vectors", lambda audit=audit: check_vectors(audit, embedders, fingerprint is not None)),
            ("usage", lambda audit=audit: check_usage(audit)),
            ("idempotency", lambda audit=audit: check_idempotency(audit)),
            ("jobs", lambda audit=audit: check_jobs(audit)),
            ("blobs", lambda audit=audit: check_blobs(audit, vault.blobs, is_used_now)),
        )
        for name, check in checks:
            yield from guarded(f"{name} of {audit.tenant}", check)
    yield from guarded("the full-text index", lambda: verify_text.check_words(connection, audits, errors))
    yield from check_leftovers(vault.blobs, tenants)


def _guarded(
    errors: tuple[type[Exception], ...], what: str, check: Callable[[], Iterable[Finding]]
) -> Iterator[Finding]:
    """Yield what a check finds; where the file breaks under it, that is a finding too, and the other checks go on."""
    try:
        yield from check()
    except (*errors, *UNREADABLE) as error:
        yield Finding("database", what, f"it cannot be read to its end ({error})")


def _check_file(connection: Any) -> Iterator[Finding]:
    for (problem,) in connection.execute("PRAGMA integrity_check(100)"):
        if problem != "ok":
            yield Finding("database", "the file", problem)


def _read_tenants(connection: Any, tenants: list[str]) -> Iterator[Finding]:
    for (tenant,) in connection.execute(sql("tenants_in_rows")):
        try:
            check_name("tenant", tenant).encode()
        except ValueError:
            yield Finding("database", repr(tenant), "there are rows of a tenant that has no such name")
        else:
            tenants.append(tenant)


def _check_embedders(
    connection: Any, fingerprint: str | None, embedders: dict[int, bool], audits: Iterable[Audit]
) -> Iterator[Finding]:
    names = {}
    for key, name, is_current in connection.execute(sql("embedders")):
        embedders[key], names[key] = bool(is_current), name
        if is_current not in (0, 1):
            yield Finding("vector", f"embedder {key}", f"is_current is {is_current!r}")
    current = [key for key, is_current in embedders.items() if is_current]
    has_vectors = any(audit.one("verify_vectors") is not None for audit in audits)
    if len(current) > 1 or (has_vectors and not current):
        yield Finding("vector", "embedders", f"{len(current)} of them are the current one")
    if fingerprint is not None and len(current) == 1 and names[current[0]] != fingerprint:
        yield Finding("vector", f"embedder {current[0]}", f"it is {names[current[0]]!r} and the settings say otherwise")


def _is_used(vault: SqliteVault, tenant: str, digest: str) -> bool:
    """Return whether a version uses a blob in the newest state."""
    with damaged(vault) as connection:
        return bool(next(iter(connection.execute(sql("blob_users"), {"tenant": tenant, "blob": digest})))[0])
