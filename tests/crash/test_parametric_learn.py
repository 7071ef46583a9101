"""P1 and P8 for adapters: a kill while facts are learnt or forgotten leaves nothing half active."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash import whole
from tests.integration.parametric_models import ASKED, SAID, TEXTS, opened

from engramos.memory import MemoryOS

FORKS = Path(__file__).with_name("parametric_forks.py")
ROOT = Path(__file__).parents[2]
PLACES = ("blob_written", "blob_renamed", "before_apply", "before_commit", "after_commit")
KILLED = -9
Run = Callable[..., int]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Learn or forget in a process of its own, and return how it ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, FORKS], **pipes, text=True, env=environment)

    def ask(folder: Path, *, failpoint: str | None = None, step: int | None = None, forgets: str | None = None) -> int:
        assert parent.stdin is not None
        assert parent.stdout is not None
        told = str(folder.parent / "told")
        task = {"folder": str(folder), "told": told, "failpoint": failpoint, "step": step, "forgets": forgets}
        parent.stdin.write(json.dumps(task) + "\n")
        parent.stdin.flush()
        return int(parent.stdout.readline())

    yield ask
    parent.communicate(timeout=60)


def made(folder: Path) -> tuple[str, ...]:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        return memory.add(list(TEXTS)).cube_ids


def blobs_of(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}


def demand_sound(folder: Path, known: set[int]) -> None:
    """Nothing is half there; what is active has passed its probes; learning again finishes what is missing.

    Args:
        folder: of the memory.
        known: which of the texts must be answered from weights once all is learnt again.
    """
    assert whole.problems(folder) == []
    with MemoryOS.open(folder, embedder="hashing") as memory, opened(memory) as adapters:
        assert memory.verify().findings == ()
        for one in adapters.list():
            adapters._weights.shelf.load(one.cube)
            assert (one.state == "activated") == bool(one.cube.payload.probes), "active, and never examined"
        assert len(blobs_of(folder) - {one.cube.digest for one in adapters.list()}) <= 1
        adapters.learn()
        said = adapters.answer(ASKED, max_tokens=8)
        for number, answer in enumerate(said):
            assert (answer.source == "weights") == (number in known), ASKED[number]
            assert number not in known or answer.text == SAID[number]
        assert {one.state for one in adapters.list()} == {"activated"}, "a left-over was not replaced"
        assert adapters.is_base_untouched
        assert memory.verify().findings == ()


@pytest.mark.parametrize("step", [1, 3])
def test_a_kill_at_a_step_of_the_writing_leaves_nothing(tmp_path: Path, run: Run, step: int) -> None:
    folder = tmp_path / "memory"
    made(folder)
    assert run(folder, step=step) == KILLED
    assert blobs_of(folder) == set()
    demand_sound(folder, {0, 1, 2})


@pytest.mark.parametrize(
    ("place", "count"), [*((one, 1) for one in PLACES), ("before_apply", 2), ("before_commit", 2), ("after_commit", 2)]
)
def test_a_kill_while_an_adapter_is_stored_or_switched_on_leaves_it_whole_or_absent(
    tmp_path: Path, run: Run, place: str, count: int
) -> None:
    folder = tmp_path / "memory"
    made(folder)
    assert run(folder, failpoint=f"{place}:kill:{count}") == KILLED
    assert not (tmp_path / "told").read_text()
    demand_sound(folder, {0, 1, 2})


@pytest.mark.parametrize(
    ("place", "count", "erased"),
    [
        ("blob_written", 1, False),
        ("before_commit", 1, False),
        ("before_commit", 2, False),
        ("after_commit", 2, True),
        ("before_scrub", 1, True),
    ],
)
def test_a_kill_while_a_source_is_forgotten_never_leaves_its_facts_in_use_without_it(
    tmp_path: Path, run: Run, place: str, count: int, erased: bool
) -> None:
    folder = tmp_path / "memory"
    ids = made(folder)
    assert run(folder) == 0
    assert run(folder, failpoint=f"{place}:kill:{count}", forgets=ids[0]) == KILLED
    with MemoryOS.open(folder, embedder="hashing") as memory:
        is_gone = ids[0] not in {cube.id for cube in memory.list()}
    demand_sound(folder, {1, 2} if is_gone else {0, 1, 2})
    assert is_gone == erased
