"""kill -9 while a nearest-neighbour index is built, and damage to it: searches stay right, it is built anew."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.test_ann import NUM, found, opened, stamps, texts, uses_it
from tests.unit.vault.test_ann import METHODS

PROGRAM = """
import os, signal, sys
from pathlib import Path
from engramos.vault.ann import ROLE
from tests.integration.test_ann import NUM, near, opened, texts
method = ROLE.load(sys.argv[2])
build = method.build
def dying(self, folder, vectors):
    build(self, folder, vectors)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "dies":
    method.build = dying
memory = opened(Path(sys.argv[1]), sys.argv[2])
if not memory.list(limit=1):
    memory.add(texts(0, NUM))
print("added", flush=True)
near(memory)
near(memory)
print("built", flush=True)
sys.stdin.read()
"""


def run(folder: Path, name: str, what: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), name, what],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answers_like_exact(folder: Path, name: str) -> None:
    with opened(folder, name) as memory:
        assert len(memory.list(limit=1_000)) == NUM
        first = found(memory, texts(17, 1)[0])
        assert first[0] == texts(17, 1)[0]
        assert uses_it(memory)
        assert found(memory, texts(17, 1)[0])[0] == first[0]
        assert memory.verify().findings == ()
    assert len(stamps(folder)) == 1


@pytest.mark.parametrize("name", METHODS)
def test_killed_before_the_stamp_it_is_built_anew(name: str, tmp_path: Path) -> None:
    with run(tmp_path, name, "dies") as child:
        assert child.wait(timeout=60) == -signal.SIGKILL
    assert stamps(tmp_path) == []
    left = [path for path in (tmp_path / "ann").glob("*/*/*") if path.is_dir()]
    assert len(left) == 1
    answers_like_exact(tmp_path, name)
    assert not left[0].exists()


@pytest.mark.parametrize("name", METHODS)
def test_killed_while_it_is_open_it_is_used_again_or_built_anew(name: str, tmp_path: Path) -> None:
    with run(tmp_path, name, "") as child:
        assert child.stdout.readline() == "added\n"
        assert child.stdout.readline() == "built\n"
        child.kill()
    answers_like_exact(tmp_path, name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_file_of_any_sort_makes_it_anew(name: str, damage: str, tmp_path: Path) -> None:
    with opened(tmp_path, name) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
    (stamp,) = stamps(tmp_path)
    path = max((one for one in stamp.parent.rglob("*") if one.is_file()), key=lambda one: (one.stat().st_size, one))
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 255])
        path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + changed + content[middle + 1 :])
    answers_like_exact(tmp_path, name)
    assert stamps(tmp_path) != [stamp]


def test_one_that_another_process_builds_is_left_alone(tmp_path: Path) -> None:
    with run(tmp_path, "lists", "") as child:
        assert child.stdout.readline() == "added\n"
        assert child.stdout.readline() == "built\n"
        built = stamps(tmp_path)
        with opened(tmp_path) as memory:
            assert uses_it(memory)
        assert stamps(tmp_path) == built
        child.communicate("")
