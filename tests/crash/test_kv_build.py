"""P1 and P8 for KV cubes: a kill while one is built leaves it wholly there or wholly absent."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash import whole
from tests.integration.kv_models import engine

from engramos.memory import MemoryOS

FORKS = Path(__file__).with_name("kv_forks.py")
PLACES = ("blob_written", "blob_renamed", "before_apply", "before_commit", "after_commit")
Run = Callable[..., list[int]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run builds side by side, each in a process of its own, and return how they ended."""
    parent = subprocess.Popen([sys.executable, FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(*tasks: dict) -> list[int]:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(json.dumps(tasks) + "\n")
        parent.stdin.flush()
        return json.loads(parent.stdout.readline())

    yield ask
    parent.communicate(timeout=60)


def task(folder: Path, name: str, texts: list[str], failpoint: str | None = None) -> dict:
    told = folder.parent / f"{name}.told"
    return {"folder": str(folder), "told": str(told), "texts": texts, "failpoint": failpoint}


def acknowledged(folder: Path, name: str) -> tuple[set[str], set[str]]:
    """Return the ids that must be there, and those that may be."""
    path = folder.parent / f"{name}.told"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    going = {cube_id for act, cube_id in lines if act == "drops"}
    gone = {cube_id for act, cube_id in lines if act == "dropped"}
    return {cube_id for act, cube_id in lines if act == "built"} - going, going - gone


def demand_sound(folder: Path, must: set[str], may: set[str]) -> None:
    """Every acknowledged cube is there; every one that is listed can be attached; nothing is half there."""
    assert whole.problems(folder) == []
    with MemoryOS.open(folder, embedder="hashing") as memory, memory.kv(engine()) as kv:
        listed = {one.cube.id: one for one in kv.list()}
        assert must <= listed.keys()
        for cube_id, one in listed.items():
            assert kv.attach(cube_id).num_tokens == len(one.cube.payload.token_ids)
            assert not one.stale
        assert memory.verify().findings == ()
        blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
        assert {one.cube.digest for one in listed.values()} <= {path.name for path in blobs}
        # a kill between blob and commit leaves one blob, or one temporary file, that nobody uses
        assert len(blobs) <= len(listed) + 1
        again = kv.build("built after the crash")
        assert kv.attach(again.id).num_tokens == again.num_tokens
    assert len(listed.keys() - must - may) <= 1, "more was there than the one that was not acknowledged"


@pytest.mark.parametrize(("place", "count"), [*((one, num) for one in PLACES for num in (1, 4)), ("before_scrub", 1)])
def test_a_kill_at_a_named_place_leaves_a_cube_whole_or_absent(
    tmp_path: Path, run: Run, place: str, count: int
) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open(folder, embedder="hashing"):
        pass
    texts = [f"text number {number} about the harbour" for number in range(3)]
    assert run(task(folder, "one", texts, f"{place}:kill:{count}")) == [-9]
    must, may = acknowledged(folder, "one")
    if count > 1 or place == "before_scrub":
        assert must, "the kill came before anything was acknowledged"
    demand_sound(folder, must, may)


def test_two_processes_build_in_one_folder_at_once(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "memory"
    texts = [f"text number {number} about the harbour" for number in range(4)]
    ended = run(task(folder, "one", texts), task(folder, "two", [f"other {text}" for text in texts]))
    assert ended == [0, 0]
    must = acknowledged(folder, "one")[0] | acknowledged(folder, "two")[0]
    assert len(must) == 14
    demand_sound(folder, must, set())
