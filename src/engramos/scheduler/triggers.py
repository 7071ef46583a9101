"""Triggers: which jobs follow from which changes; they are queued in the same commit."""

from collections.abc import Sequence

from engramos.changes import Change, Erase, JobSpec, Write
from engramos.clock import to_us

SECOND_US = 1_000_000


def triggered_by(changes: Sequence[Change]) -> list[JobSpec]:
    """Return the jobs that follow from changes: a scrub after an erasure, a sweep when a retention ends.

    A sweep runs at the next whole second, so that cubes of one import share a few.
    """
    jobs: list[JobSpec] = []
    if any(isinstance(change, Erase) for change in changes):
        jobs.append(JobSpec("scrub"))
    ends = {
        -(-to_us(change.cube.header.retention.expires_at) // SECOND_US) * SECOND_US
        for change in changes
        if isinstance(change, Write) and change.cube.header.retention.expires_at is not None
    }
    jobs.extend(JobSpec("sweep", run_at_us=end) for end in sorted(ends))
    return jobs
