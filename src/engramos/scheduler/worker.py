"""The worker: takes due jobs under a lease, runs their handlers, and puts failures back with growing delays.

A handler may run twice (a worker can die after the work and before the finish), so each is idempotent.
"""

from collections.abc import Callable
from typing import Any, Protocol

from engramos.changes import Erase, Request
from engramos.clock import new_id, now_us
from engramos.errors import EngramosError
from engramos.rows import LeasedJob
from engramos.scheduler.triggers import triggered_by
from engramos.scope import Scope
from engramos.vault.sqlite.scrub import Scrubbed
from engramos.vault.sqlite.vault import SqliteVault

LEASE_S = 120.0
MAX_ATTEMPTS = 8
FIRST_DELAY_S = 1.0
ACTOR = "engramos"


class HasVault(Protocol):
    """What a handler needs."""

    vault: SqliteVault


def run_due(parts: HasVault, limit: int = 1_000) -> int:
    """Run jobs that are due, of all tenants, and return how many were finished."""
    finished = 0
    for tenant in parts.vault.tenants_with_jobs():
        while finished < limit and (job := parts.vault.lease_job(tenant, LEASE_S)) is not None:
            finished += _run(parts, job)
    return finished


def scrub_now(parts: HasVault, tenant: str) -> Scrubbed:
    """Run a tenant's waiting scrubs now and return what they reached together."""
    is_complete, blobs = True, []
    while (job := parts.vault.lease_job(tenant, LEASE_S, "scrub")) is not None:
        scrubbed = parts.vault.scrub(tenant, job.parameters.get("blobs", ()))
        blobs.extend(scrubbed.blobs)
        if scrubbed.is_complete:
            parts.vault.finish_job(job)
        else:
            is_complete = False
            parts.vault.fail_job(job, EngramosError("a reader keeps the write-ahead log"), _retry_at_us(job))
    return Scrubbed(is_complete, tuple(blobs))


def _run(parts: HasVault, job: LeasedJob) -> bool:
    handler = HANDLERS.get(job.queue)
    try:
        if handler is None:
            raise EngramosError(f"no handler for queue {job.queue!r}: a newer engramos queued it")
        handler(parts, job)
    except EngramosError as error:
        parts.vault.fail_job(job, error, _retry_at_us(job))
        return False
    return parts.vault.finish_job(job)


def _retry_at_us(job: LeasedJob) -> int | None:
    """Return when to try again, later after each attempt; None after the last."""
    if job.attempts >= MAX_ATTEMPTS:
        return None
    return now_us() + int(FIRST_DELAY_S * 2**job.attempts * 1e6)


def _scrub(parts: HasVault, job: LeasedJob) -> None:
    if not parts.vault.scrub(job.tenant, job.parameters.get("blobs", ())).is_complete:
        raise EngramosError("a reader of another process keeps the write-ahead log")


def _sweep(parts: HasVault, job: LeasedJob) -> None:
    """Erase what its retention has ended for; a legal hold keeps it."""
    while found := parts.vault.expired(job.tenant):
        changes = [Erase(cube_id, version) for cube_id, version, _ in found]
        request = Request(ACTOR, new_id(), "retention ended")
        scope = Scope(job.tenant, ACTOR)
        parts.vault.commit(changes, scope=scope, request=request, jobs=triggered_by(changes))
    scrub_now(parts, job.tenant)


HANDLERS: dict[str, Callable[[Any, LeasedJob], None]] = {"scrub": _scrub, "sweep": _sweep}
