"""P28: nothing past its time is returned, it is gone after one sweep, and a legal hold wins."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from engramos.errors import CubeNotFoundError, InvalidInputError
from engramos.memory import MemoryOS
from engramos.rows import Filter
from engramos.testing import FakeClock

READS = 10_000


def test_ten_thousand_reads_return_nothing_past_its_time(folder: Path, clock: FakeClock) -> None:
    dice = random.Random(28)
    limits_h: dict[str, int] = {}
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        for number in range(200):
            hours = dice.randint(1, 100)
            (cube_id,) = memory.add(f"kept word{number % 7}", keep_for=timedelta(hours=hours)).cube_ids
            limits_h[cube_id] = hours
        start, reads, late, seen = clock.at, 0, 0, 0
        ids = list(limits_h)

        def is_late(cube_id: str) -> bool:
            return clock.at >= start + timedelta(hours=limits_h[cube_id])

        while reads < READS:
            clock.advance(minutes=dice.randint(1, 10))
            if clock.at > start + timedelta(hours=110):
                clock.set(start)
            word = f"word{dice.randint(0, 6)}"
            found = [hit.id for hit in memory.search(word, limit=100)]
            found += [cube.id for cube in memory.list(Filter(match=word))]
            found += memory.context(word, budget_tokens=200).cube_ids
            reads += 3
            for cube_id in dice.sample(ids, 7):
                reads += 1
                try:
                    memory.get(cube_id)
                except CubeNotFoundError:
                    assert is_late(cube_id)
                    continue
                found.append(cube_id)
            late += sum(map(is_late, found))
            seen += len(found)
        assert late == 0
        assert seen > READS


def test_it_is_gone_from_the_files_after_one_sweep(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add("stays")
        (cube_id,) = memory.add("the narwhalword passes", keep_for=timedelta(days=30)).cube_ids
        clock.advance(days=29)
        memory.run_jobs()
        assert memory.get(cube_id).text == "the narwhalword passes"
        clock.advance(days=1)
        with pytest.raises(CubeNotFoundError):
            memory.get(cube_id)
        assert memory.run_jobs() == 1
        assert memory.stats()["cubes"] == 1
        assert memory.history(cube_id).tombstone is not None
        assert [path for path in folder.rglob("*") if path.is_file() and b"narwhalword" in path.read_bytes()] == []


def test_opening_sweeps_what_passed_meanwhile(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        memory.add("passes", keep_for=timedelta(days=1))
    clock.advance(days=2)
    with MemoryOS.open(folder, embedder="none") as memory:
        assert memory.stats()["versions"] == 0


def test_a_legal_hold_wins_until_it_is_lifted(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        (cube_id,) = memory.add("evidence", keep_for=timedelta(days=1), is_held=True).cube_ids
        clock.advance(days=2)
        memory.run_jobs()
        assert memory.get(cube_id).text == "evidence"
        assert [hit.id for hit in memory.search("evidence")] == [cube_id]
        memory.update(cube_id, is_held=False, expected_version=1)
        with pytest.raises(CubeNotFoundError):
            memory.get(cube_id)
        assert memory.search("evidence") == []
        memory.run_jobs()
        assert memory.stats()["cubes"] == 0


def test_a_hold_put_on_later_keeps_what_would_have_been_swept(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        (cube_id,) = memory.add("evidence", keep_for=timedelta(days=1)).cube_ids
        memory.update(cube_id, is_held=True, expected_version=1)
        clock.advance(days=2)
        memory.run_jobs()
        assert memory.get(cube_id).header.retention.is_held


def test_what_derives_from_it_is_not_returned_by_an_older_version(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        (cube_id,) = memory.add("first", keep_for=timedelta(days=1)).cube_ids
        memory.update(cube_id, text="second", expected_version=1)
        known_at = clock.at
        clock.advance(days=2)
        for ask in ({"version": 1}, {"known_at": known_at}):
            with pytest.raises(CubeNotFoundError):
                memory.get(cube_id, **ask)
        assert memory.list(known_at=known_at) == []
        assert memory.search("second first", known_at=known_at) == []
        for refused in (memory.history, memory.explain, memory.restore):
            with pytest.raises(CubeNotFoundError):
                refused(cube_id)


@pytest.mark.parametrize("keep_for", [timedelta(0), timedelta(days=-1), timedelta.max, 3_600, "1 day"])
def test_a_time_that_cannot_be_kept_is_refused(memory: MemoryOS, keep_for: object) -> None:
    with pytest.raises(InvalidInputError, match="keep_for"):
        memory.add("text", keep_for=keep_for)
    assert memory.list() == []
