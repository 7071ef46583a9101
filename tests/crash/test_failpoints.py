"""P1, P8, P11, P21: a kill at each named place leaves every request wholly there or wholly absent."""

import sqlite3
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.crash import whole
from tests.crash.controller import Acknowledged, Worker, demand_nothing, find_loss

from engramos.errors import ConfigError, StoreError
from engramos.memory import MemoryOS
from engramos.vault.blobs import BlobStore

IN_COMMITS = ("before_apply", "before_commit", "after_commit", "blob_written", "blob_renamed")
IN_SCRUBS = ("before_scrub", "before_checkpoint", "after_checkpoint")
CANARY = "zanzibarquokka"


def killed_at(place, folder, seed, count, **task):
    """Run a mixed workload until it dies at the failpoint; return what it acknowledged."""
    settings = {"failpoint": f"{place}:kill:{count}"}
    wanted = Acknowledged()
    with Worker("mix", folder, seed=seed, settings=settings, **task) as worker:
        worker.finish(-9)
    wanted.take(worker.lines)
    return wanted


def demand_all(folder, wanted, moment):
    _, found = find_loss(folder, wanted)
    with MemoryOS.open(folder, embedder="hashing") as memory:
        for cube_id in wanted.erased:
            if memory._parts.vault.get("local", cube_id) is not None:
                found.append(f"erased cube {cube_id} came back")
        for cube_id in wanted.expired:
            if memory._parts.vault.get("local", cube_id).header.state != "expired":
                found.append(f"expired cube {cube_id} came back")
    blobs = BlobStore(folder / "blobs")
    found += [f"blob {one} is lost" for one in wanted.blobs if len(blobs.read("local", one)) != 9_000]
    demand_nothing(found, folder, moment)


@pytest.mark.parametrize(("place", "count"), [*((one, 9) for one in IN_COMMITS), *((one, 3) for one in IN_SCRUBS)])
def test_a_kill_at_a_named_place_leaves_requests_whole_or_absent(tmp_path, place, count):
    folder = tmp_path / "memory"
    wanted = killed_at(place, folder, 5, count)
    assert wanted.digests
    demand_all(folder, wanted, {"failpoint": place, "count": count})
    again = killed_at(place, folder, 6, 2)
    wanted.digests |= again.digests
    demand_all(folder, wanted, {"failpoint": place, "count": "9 and 2"})


@pytest.mark.slow
@pytest.mark.parametrize("place", [*IN_COMMITS, *IN_SCRUBS])
@pytest.mark.parametrize("count", range(1, 16))
def test_a_kill_at_any_visit_of_a_named_place(tmp_path, place, count):
    wanted = killed_at(place, tmp_path / "memory", 7, count)
    demand_all(tmp_path / "memory", wanted, {"failpoint": place, "count": count})


def test_an_add_killed_before_its_commit_is_absent_and_after_it_is_there(tmp_path):
    for place, is_there in (("before_commit", False), ("after_commit", True)):
        folder = tmp_path / place
        with MemoryOS.open(folder, embedder="hashing"):
            pass
        settings = {"failpoint": f"{place}:kill:1"}
        with Worker("add", folder, seed=3, threads=1, num=1, settings=settings) as worker:
            worker.finish(-9)
        assert worker.named("ids") == []
        assert whole.problems(folder) == []
        with MemoryOS.open(folder, embedder="hashing") as memory:
            assert bool(memory.list()) == is_there


@pytest.mark.parametrize("place", ["before_migration", "after_migration"])
def test_a_kill_around_the_migration_leaves_a_folder_that_opens(tmp_path, place):
    with Worker("add", tmp_path / "memory", seed=1, num=1, settings={"failpoint": f"{place}:kill"}) as worker:
        worker.finish(-9)
    demand_usable(tmp_path / "memory")


def test_a_kill_at_any_call_into_sqlite_while_the_folder_is_made(tmp_path):
    with Worker("migrate", tmp_path / "whole") as worker:
        worker.finish()
    num_calls = worker.named("calls")[0]
    assert num_calls > 40
    for number in range(20):
        kill_at = 1 + number * num_calls // 20
        folder = tmp_path / f"killed{kill_at}"
        with Worker("migrate", folder, kill_at=kill_at) as worker:
            worker.finish(-9)
        demand_usable(folder)


def demand_usable(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        cube_id = memory.add("usable after all", idempotency_key="once").cube_ids[0]
        assert memory.search("usable")[0].id == cube_id
    assert whole.problems(folder) == []


def files_with(folder: Path, canary: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and canary.encode() in path.read_bytes().lower()]


@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "beside another process"])
@pytest.mark.parametrize(
    "place", ["after_commit:kill:43", "before_scrub:kill", "before_checkpoint:kill", "after_checkpoint:kill"]
)
def test_an_erasure_that_was_killed_is_finished_at_the_next_opening(tmp_path, place, is_shared):
    """The other process matters: while it has the files open, closing a connection checkpoints nothing."""
    folder = tmp_path / "memory"
    with ExitStack() as stack:
        if is_shared:
            holder = stack.enter_context(Worker("hold", folder))
            holder.read_until(lambda line: "opened" in line)
        with Worker("erase", folder, canary=CANARY, settings={"failpoint": place}) as worker:
            worker.finish(-9)
        assert (worker.named("begins"), worker.named("erased")) == (["erase"], [])
        if not place.startswith("after_checkpoint"):
            assert files_with(folder, CANARY), "the kill came too late to prove anything"
        with Worker("hold", folder) as next_one:
            next_one.read_until(lambda line: "opened" in line)
            assert files_with(folder, CANARY) == []
            next_one.finish()
    assert files_with(folder, CANARY) == []
    assert whole.problems(folder) == []
    with MemoryOS.open(folder, embedder="hashing") as memory:
        assert all(CANARY not in cube.text for cube in memory.list())
        assert "scrub" not in str(memory.stats()["jobs"])


def test_a_failure_in_the_middle_of_a_commit_is_reported_and_undone(tmp_path):
    for place in ("before_apply", "before_commit"):
        with MemoryOS.open(tmp_path / place, embedder="hashing", failpoint=f"{place}:raise:2") as memory:
            kept = memory.add("the first")
            with pytest.raises(StoreError, match=place):
                memory.add("the second")
            third = memory.add("the third")
            assert [cube.id for cube in memory.list()] == [*kept.cube_ids, *third.cube_ids]
        assert whole.problems(tmp_path / place) == []


@pytest.mark.parametrize(
    "text", ["nowhere:kill", "after_commit:explode", "after_commit:kill:soon", "after_commit:call"]
)
def test_an_unknown_failpoint_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="failpoint"):
        MemoryOS.open(tmp_path, failpoint=text)


def test_a_full_text_index_without_its_cube_is_found_out(tmp_path):
    with MemoryOS.open(tmp_path, embedder="hashing") as memory:
        memory.add("one")
    connection = sqlite3.connect(tmp_path / "vault.db", isolation_level=None)
    connection.execute("DELETE FROM cubes")
    connection.close()
    assert any("full-text index" in one for one in whole.problems(tmp_path))
