"""P4: no update is lost, whoever else writes at the same time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engramos.errors import VersionConflictError
from engramos.memory import MemoryOS

THREADS, TIMES = 16, 100
PROGRAM = """
import sys
from engramos.errors import VersionConflictError
from engramos.memory import MemoryOS
folder, cube_id, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
with MemoryOS.open(folder, embedder="none") as memory:
    done = 0
    while done < times:
        cube = memory.get(cube_id)
        try:
            memory.update(cube_id, text=str(int(cube.text) + 1), expected_version=cube.version)
        except VersionConflictError:
            continue
        done += 1
"""


def increment(memory: MemoryOS, cube_id: str, times: int) -> int:
    """Add 1 to a number so many times, each from the version that was read; return the conflicts."""
    conflicts = done = 0
    while done < times:
        cube = memory.get(cube_id)
        try:
            memory.update(cube_id, text=str(int(cube.text) + 1), expected_version=cube.version)
        except VersionConflictError:
            conflicts += 1
        else:
            done += 1
    return conflicts


def check_chain(memory: MemoryOS, cube_id: str, total: int) -> None:
    """Check that versions count up without a gap, each one more than the one before, each with its journal row."""
    history = memory.history(cube_id)
    assert [cube.version for cube in history.versions] == list(range(1, total + 2))
    assert [cube.text for cube in history.versions] == [str(number) for number in range(total + 1)]
    assert [row.version for row in history.journal] == list(range(1, total + 2))


def test_sixteen_threads_lose_no_increment(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        (cube_id,) = memory.add("0").cube_ids
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: increment(memory, cube_id, TIMES), range(THREADS)))
        assert memory.get(cube_id).text == str(THREADS * TIMES) == "1600"
        check_chain(memory, cube_id, THREADS * TIMES)


def test_two_processes_lose_no_increment(folder: Path) -> None:
    times = 100
    with MemoryOS.open(folder, embedder="none") as memory:
        (cube_id,) = memory.add("0").cube_ids
        arguments = [sys.executable, "-c", PROGRAM, str(folder), cube_id, str(times)]
        others = [subprocess.Popen(arguments, stderr=subprocess.PIPE) for _ in range(2)]
        increment(memory, cube_id, times)
        for other in others:
            _, problem = other.communicate(timeout=60)
            assert other.returncode == 0, problem.decode()
        assert memory.get(cube_id).text == str(3 * times)
        check_chain(memory, cube_id, 3 * times)


def test_a_stale_version_is_refused_and_an_unconditioned_update_too(memory: MemoryOS) -> None:
    (cube_id,) = memory.add("one").cube_ids
    memory.update(cube_id, text="two", expected_version=1)
    with pytest.raises(VersionConflictError) as stale:
        memory.update(cube_id, text="three", expected_version=1)
    assert (stale.value.expected, stale.value.found) == (1, 2)
    with pytest.raises(VersionConflictError, match="no expected version was given"):
        memory.update(cube_id, text="three")
    assert memory.update(cube_id, text="three", force=True).version == 3
    with pytest.raises(VersionConflictError):
        memory.forget(cube_id, act="expire", expected_version=2)
    assert memory.get(cube_id).text == "three"


def test_forced_updates_from_many_threads_all_become_versions(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        (cube_id,) = memory.add("start").cube_ids
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: memory.update(cube_id, text=f"text {n}", force=True), range(200)))
        texts = [cube.text for cube in memory.history(cube_id).versions]
        assert sorted(texts[1:]) == sorted(f"text {n}" for n in range(200))
