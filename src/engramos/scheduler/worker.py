"""The worker: takes due jobs under a lease, runs their handlers, and puts failures back with growing delays.

A handler may run twice (a worker can die after the work and before the finish), so each is idempotent.
"""

from collections.abc import Callable
from typing import Any, Protocol

from engramos.changes import Erase, Request
from engramos.clock import new_id, now_us
from engramos.errors import EngramosError, JobFailedError
from engramos.rows import LeasedJob
from engramos.scheduler.triggers import triggered_by
from engramos.scope import Scope
from engramos.vault.sqlite.scrub import Scrubbed
from engramos.vault.sqlite.vault import SqliteVault

LEASE_S = 120.0
MAX_ATTEMPTS = 8
FIRST_DELAY_S = 1.0
WAIT_S = 60.0
"""Until a job that waits for another process is looked at again."""
ACTOR = "engramos"


class HasVault(Protocol):
    """What a handler needs."""

    vault: SqliteVault


def run_due(parts: HasVault, limit: int = 1_000, *, takes_over: bool = False) -> int:
    """Run jobs that are due, of all tenants, and return how many were finished.

    With `takes_over`, as at an opening, also scrubs that another has leased: it may be dead, an erasure must not wait
    for its lease, and to scrub twice is harmless. A job is taken from a living one at most twice.
    """
    finished = 0
    for tenant in parts.vault.tenants_with_jobs():
        may_take, seen = takes_over, set[int]()
        while finished < limit and (job := parts.vault.lease_job(tenant, LEASE_S, takes_over=may_take)) is not None:
            may_take = may_take and job.job_key not in seen
            seen.add(job.job_key)
            finished += _run(parts, job)
    return finished


def scrub_now(parts: HasVault, tenant: str) -> Scrubbed:
    """Run a tenant's waiting scrubs now, as one, and return what was reached; what fails is tried again later."""
    jobs: list[LeasedJob] = []
    while (job := parts.vault.lease_job(tenant, LEASE_S, "scrub")) is not None:
        jobs.append(job)
    if not jobs:
        return Scrubbed(True, ())
    blobs = sorted({blob for job in jobs for blob in job.parameters.get("blobs", ())})
    try:
        scrubbed = parts.vault.scrub(tenant, blobs)
    except EngramosError as error:
        for job in jobs:
            _put_back(parts, job, error)
        return Scrubbed(False, ())
    for job in jobs:
        if scrubbed.is_complete:
            parts.vault.finish_job(job)
        else:
            _let_wait(parts, job)
    return scrubbed


def _run(parts: HasVault, job: LeasedJob) -> bool:
    try:
        if job.attempts > MAX_ATTEMPTS:
            raise JobFailedError("its worker died at every attempt: see why, then queue it again")
        handler = HANDLERS.get(job.queue)
        if handler is None:
            raise JobFailedError(f"no handler for queue {job.queue!r}: a newer engramos queued it")
        is_done = handler(parts, job)
    except EngramosError as error:
        _put_back(parts, job, error)
        return False
    except Exception as error:
        # one bad job must keep nobody from opening the memory; what a stranger's error says could be content
        _put_back(parts, job, JobFailedError(f"{type(error).__name__} while running {job.queue!r}"))
        return False
    if not is_done:
        _let_wait(parts, job)
        return False
    return parts.vault.finish_job(job)


def _put_back(parts: HasVault, job: LeasedJob, error: EngramosError) -> None:
    """Put a job back, later after each attempt, and among the dead after the last."""
    delay_us = int(FIRST_DELAY_S * 2**job.attempts * 1e6)
    parts.vault.fail_job(job, error, now_us() + delay_us if job.attempts < MAX_ATTEMPTS else None)


def _let_wait(parts: HasVault, job: LeasedJob) -> None:
    """Put a job back that waits for another process, however often: an erasure must not be given up."""
    error = JobFailedError("a reader of another process keeps the write-ahead log")
    parts.vault.fail_job(job, error, now_us() + int(WAIT_S * 1e6), counts=False)


def _scrub(parts: HasVault, job: LeasedJob) -> bool:
    return parts.vault.scrub(job.tenant, job.parameters.get("blobs", ())).is_complete


def _sweep(parts: HasVault, job: LeasedJob) -> bool:
    """Erase what its retention has ended for; a legal hold keeps it."""
    while found := parts.vault.expired(job.tenant):
        changes = [Erase(cube_id, version) for cube_id, version, _ in found]
        request = Request(ACTOR, new_id(), "retention ended")
        scope = Scope(job.tenant, ACTOR)
        parts.vault.commit(changes, scope=scope, request=request, jobs=triggered_by(changes))
    scrub_now(parts, job.tenant)
    return True


HANDLERS: dict[str, Callable[[Any, LeasedJob], bool]] = {"scrub": _scrub, "sweep": _sweep}
"""By queue: does the job and returns whether it is done; False lets it wait for another process."""
