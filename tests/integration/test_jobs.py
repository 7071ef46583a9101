"""Jobs: leased, fenced, tried again with growing delays, and in the end dead; each effect once."""

import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from engramos import MemoryOS
from engramos.changes import JobSpec, Request
from engramos.clock import from_us, new_id
from engramos.errors import JobFailedError, StoreError
from engramos.scheduler import worker
from engramos.scheduler.worker import FIRST_DELAY_S, LEASE_S, MAX_ATTEMPTS, run_due
from engramos.scope import Scope
from engramos.testing import FakeClock

RUN = """
import sys
from engramos import MemoryOS
memory = MemoryOS.open_for_reembed(sys.argv[1], user="ana", embedder="none")
print(memory.run_jobs())
memory.close()
"""


def jobs(memory: MemoryOS) -> list[tuple]:
    connection = sqlite3.connect(memory._parts.vault.path)
    try:
        rows = "SELECT queue, state, attempts, run_at_us, last_error FROM jobs ORDER BY job_key"
        return connection.execute(rows).fetchall()
    finally:
        connection.close()


def queue(memory: MemoryOS, name: str, tenant: str = "local", **parameters: object) -> None:
    spec = JobSpec(name, parameters)
    memory._parts.vault.commit([], scope=Scope(tenant, "me"), request=Request("test", new_id()), jobs=[spec])


def erasures(memory: MemoryOS) -> list[str]:
    return [row.cube_id for row in memory._parts.vault.journal("local") if row.kind == "erase"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Attempts of queue `failing`, which never succeeds, and of queue `working`, which does."""
    attempts: list[int] = []

    def fail(parts: object, job: object) -> bool:
        attempts.append(job.attempts)
        raise JobFailedError("no luck")

    def break_down(parts: object, job: object) -> bool:
        raise ZeroDivisionError("the canary sings")

    def work(parts: object, job: object) -> bool:
        attempts.append(job.attempts)
        return True

    for name, handler in (("failing", fail), ("breaking", break_down), ("working", work)):
        monkeypatch.setitem(worker.HANDLERS, name, handler)
    return attempts


def test_a_sweep_erases_what_its_retention_has_ended_for_and_nothing_else(clock: FakeClock, memory: MemoryOS) -> None:
    short = memory.add("for an hour", keep_for=timedelta(hours=1)).cube_ids[0]
    held = memory.add("for an hour, but held", keep_for=timedelta(hours=1), is_held=True).cube_ids[0]
    long = memory.add("for a day", keep_for=timedelta(days=1)).cube_ids[0]
    memory.add("for ever")
    assert memory.run_jobs() == 0
    clock.advance(hours=1, seconds=1)
    assert memory.run_jobs() >= 1
    assert erasures(memory) == [short]
    assert {cube.id for cube in memory.list()} >= {long, held}
    assert memory.update(held, is_held=False, force=True).id == held
    memory.run_jobs()
    assert erasures(memory) == [short, held]


def test_cubes_of_one_import_share_a_sweep(memory: MemoryOS) -> None:
    memory.add([f"note {number}" for number in range(200)], keep_for=timedelta(hours=1))
    assert len(jobs(memory)) <= 3


def test_a_sweep_comes_never_before_the_end(clock: FakeClock, memory: MemoryOS) -> None:
    clock.advance(microseconds=1)
    memory.add("for an hour", keep_for=timedelta(hours=1))
    ((_, _, _, run_at_us, _),) = jobs(memory)
    end = clock.at + timedelta(hours=1)
    assert end <= from_us(run_at_us) < end + timedelta(seconds=1)


def test_a_failing_job_is_tried_again_after_growing_delays_and_is_dead_after_eight(
    clock: FakeClock, memory: MemoryOS, ran: list[int]
) -> None:
    queue(memory, "failing")
    delays = []
    while jobs(memory)[0][1] == "queued":
        assert memory.run_jobs() == 0
        (_, state, attempts, run_at_us, error) = jobs(memory)[0]
        assert (attempts, error) == (ran[-1], "no luck")
        if state == "queued":
            delays.append((from_us(run_at_us) - clock.at).total_seconds())
            clock.advance(seconds=delays[-1] - 0.001)
            assert memory.run_jobs() == 0
            assert ran[-1] == attempts
            clock.advance(seconds=0.001)
    assert ran == list(range(1, MAX_ATTEMPTS + 1))
    assert delays == [FIRST_DELAY_S * 2**attempt for attempt in range(1, MAX_ATTEMPTS)]
    clock.advance(days=30)
    assert memory.run_jobs() == 0
    assert memory.stats()["jobs"] == {"failing/dead": 1}


@pytest.mark.parametrize("name", ["failing", "breaking", "from the future"])
def test_one_bad_job_keeps_nobody_from_opening_closing_and_other_jobs(folder: Path, ran: list[int], name: str) -> None:
    with FakeClock() as clock:
        with MemoryOS.open(folder, embedder="none") as memory:
            queue(memory, name)
            queue(memory, "working")
        for _ in range(MAX_ATTEMPTS + 1):
            clock.advance(hours=1)
            with MemoryOS.open(folder, embedder="none") as memory:
                memory.add("life goes on")
        with MemoryOS.open(folder, embedder="none") as memory:
            (row,) = jobs(memory)
            assert row[:3] == (name, "dead", MAX_ATTEMPTS)
            assert "canary" not in row[4]
            assert len(memory.list()) == MAX_ATTEMPTS + 1


def test_a_job_that_kills_its_worker_each_time_is_dead_in_the_end(
    clock: FakeClock, memory: MemoryOS, ran: list[int]
) -> None:
    queue(memory, "working")
    for _ in range(MAX_ATTEMPTS):
        assert memory._parts.vault.lease_job("local", LEASE_S) is not None
        clock.advance(seconds=LEASE_S)
    assert memory.run_jobs() == 0
    assert jobs(memory)[0][1] == "dead"
    assert ran == []


def test_a_worker_past_its_lease_is_refused(clock: FakeClock, memory: MemoryOS) -> None:
    vault = memory._parts.vault
    queue(memory, "working")
    slow = vault.lease_job("local", LEASE_S)
    assert vault.lease_job("local", LEASE_S) is None
    clock.advance(seconds=LEASE_S)
    quick = vault.lease_job("local", LEASE_S)
    assert (quick.job_key, quick.fence) == (slow.job_key, slow.fence + 1)
    assert not vault.finish_job(slow)
    assert not vault.fail_job(slow, JobFailedError("too late"), None)
    assert jobs(memory)[0][1] == "leased"
    assert vault.finish_job(quick)
    assert not vault.finish_job(quick)
    assert jobs(memory) == []


def test_a_sweep_and_a_scrub_may_run_twice(clock: FakeClock, memory: MemoryOS) -> None:
    memory.add("for an hour", keep_for=timedelta(hours=1))
    clock.advance(hours=2)
    vault = memory._parts.vault
    job = vault.lease_job("local", LEASE_S)
    for _ in range(2):
        assert worker.HANDLERS["sweep"](memory._parts, job)
        assert worker.HANDLERS["scrub"](memory._parts, job)
    assert len(erasures(memory)) == 1
    assert vault.finish_job(job)
    assert jobs(memory) == []


def test_jobs_of_all_tenants_are_run(memory: MemoryOS, ran: list[int]) -> None:
    for tenant in ("acme", "beta", "local"):
        queue(memory, "working", tenant)
    assert memory.run_jobs() == 3
    assert ran == [1, 1, 1]


def test_two_processes_that_run_the_same_jobs_do_each_once(folder: Path) -> None:
    scopes = [Scope(f"t{number}", "ana") for number in range(30)]
    with FakeClock(), MemoryOS.open(folder, embedder="none") as memory:
        ids = [memory.add("a note", keep_for=timedelta(hours=1), scope=scope).cube_ids[0] for scope in scopes]
        assert len(jobs(memory)) == 30
    workers = [
        subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for one in workers:
        one.communicate(timeout=120)
    assert [one.returncode for one in workers] == [0, 0]
    with MemoryOS.open(folder, embedder="none") as memory:
        # a scrub waits while the other process reads
        assert {row[:2] for row in jobs(memory)} <= {("scrub", "queued")}
        for scope, cube_id in zip(scopes, ids, strict=True):
            erased = [row.cube_id for row in memory._parts.vault.journal(scope.tenant) if row.kind == "erase"]
            assert erased == [cube_id]


def test_a_scrub_that_a_reader_holds_up_waits_and_is_never_given_up(clock: FakeClock, memory: MemoryOS) -> None:
    cube_id = memory.add("to be erased").cube_ids[0]
    reader = sqlite3.connect(memory._parts.vault.path, isolation_level=None)
    try:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM cubes").fetchone() == (1,)
        assert not memory.forget(cube_id, act="erase").is_scrubbed
        for _ in range(MAX_ATTEMPTS + 1):
            clock.advance(hours=1)
            job = memory._parts.vault.lease_job("local", LEASE_S)
            worker._let_wait(memory._parts, job)
        assert [row[:2] for row in jobs(memory)] == [("scrub", "queued")]
    finally:
        reader.close()
    clock.advance(hours=1)
    assert memory.run_jobs() == 1
    assert jobs(memory) == []


def test_an_erasure_whose_scrub_fails_stands_and_is_scrubbed_later(folder: Path) -> None:
    with FakeClock() as clock, MemoryOS.open(folder, embedder="none", failpoint="before_scrub:raise") as memory:
        cube_id = memory.add("to be erased").cube_ids[0]
        assert not memory.forget(cube_id, act="erase").is_scrubbed
        assert memory.list() == []
        assert [row[:3] for row in jobs(memory)] == [("scrub", "queued", 1)]
        clock.advance(minutes=1)
        assert memory.run_jobs() == 1
        assert jobs(memory) == []


def test_closing_gives_the_files_back_even_where_the_last_write_fails(folder: Path) -> None:
    memory = MemoryOS.open(folder, embedder="none", failpoint="before_commit:raise:2")
    memory.add("found")
    memory.search("found")
    with pytest.raises(StoreError, match="before_commit"):
        memory.close()
    assert memory._parts.vault.is_closed


def test_a_run_does_no_more_than_its_limit(memory: MemoryOS, ran: list[int]) -> None:
    for number in range(5):
        queue(memory, "working", number=number)
    assert run_due(memory._parts, limit=2) == 2
    assert len(ran) == 2
    assert run_due(memory._parts) == 3


def test_only_an_opening_takes_a_scrub_from_a_living_worker(clock: FakeClock, memory: MemoryOS) -> None:
    """Threads that each erase would otherwise take the same scrub from each other until it is given up."""
    queue(memory, "scrub")
    held = memory._parts.vault.lease_job("local", LEASE_S, "scrub")
    for _ in range(2 * MAX_ATTEMPTS):
        memory.forget(memory.add("to be erased").cube_ids[0], act="erase")
    assert [row[:3] for row in jobs(memory)] == [("scrub", "leased", 1)]
    assert memory._parts.vault.finish_job(held)


def test_a_scrub_that_many_openings_take_over_is_not_given_up(clock: FakeClock, memory: MemoryOS) -> None:
    queue(memory, "scrub")
    for _ in range(2 * MAX_ATTEMPTS):
        assert memory._parts.vault.lease_job("local", LEASE_S, takes_over=True).attempts == 1
    clock.advance(seconds=LEASE_S)
    assert memory._parts.vault.lease_job("local", LEASE_S, takes_over=True).attempts == 2
    assert run_due(memory._parts, takes_over=True) == 1
    assert jobs(memory) == []
