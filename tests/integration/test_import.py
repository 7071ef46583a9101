"""Importing files: exactly once, in order, with what was wrong told, and weekly exports without doubles."""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from engramos import MemoryOS
from engramos.errors import ImportFailedError
from engramos.importers import ROLE
from engramos.importers.base import Importer, Record
from engramos.messages import Document, Message, Problem
from engramos.scope import Scope
from engramos.verbs.import_file import BATCH, MAX_PROBLEMS

FILES = Path(__file__).parents[1] / "data" / "imports"
SUFFIXES = {"jsonl": ".jsonl", "markdown": ".md", "pdf": ".pdf", "text": ".txt"}
IMPORT = """
import sys
from engramos import MemoryOS
memory = MemoryOS.open(sys.argv[1], user="ana", embedder="none", failpoint=sys.argv[3] or None)
memory.import_file(sys.argv[2], progress=lambda num: print(num, flush=True))
memory.close()
"""
BIG = """
import resource, sys
from engramos import MemoryOS
with MemoryOS.open(sys.argv[1], user="ana", embedder="none", durability="relaxed") as memory:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = memory.import_file(sys.argv[2])
    print(found.num_cubes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def turn(number: int, **other: object) -> dict[str, object]:
    return {"role": "user", "content": f"turn {number}", "session": "chat", "id": f"m{number}"} | other


def written(path: Path, records: Sequence[dict[str, object] | str]) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def texts(memory: MemoryOS, **scope: object) -> list[str]:
    return [cube.text for cube in memory.list(limit=10_000, **scope)]


def test_a_second_import_of_the_same_file_adds_nothing(memory: MemoryOS, tmp_path: Path) -> None:
    path = written(tmp_path / "chat.jsonl", [{"role": "user", "content": f"turn {at}"} for at in range(BATCH + 10)])
    first = memory.import_file(path)
    assert (first.num_records, first.num_cubes, first.num_known) == (BATCH + 10, BATCH + 10, 0)
    second = memory.import_file(path)
    assert (second.num_records, second.num_cubes, second.num_known) == (BATCH + 10, 0, BATCH + 10)
    assert Counter(texts(memory)) == Counter(f"turn {at}" for at in range(BATCH + 10))


def test_the_same_bytes_under_another_name_are_another_document(memory: MemoryOS, tmp_path: Path) -> None:
    for name in ("shopping.txt", "garden.txt"):
        (tmp_path / name).write_text("Buy beans.")
        assert memory.import_file(tmp_path / name).num_cubes == 1
        assert memory.import_file(tmp_path / name).num_cubes == 0
    assert [cube.payload.title for cube in memory.list()] == ["shopping", "garden"]


def test_each_user_and_each_agent_has_an_import_of_their_own(memory: MemoryOS, tmp_path: Path) -> None:
    path = written(tmp_path / "chat.jsonl", [turn(1)])
    for scope in (Scope("local", "ana"), Scope("local", "bo"), Scope("local", "ana", agent="planner")):
        assert memory.import_file(path, scope=scope).num_cubes == 1
        assert memory.import_file(path, scope=scope).num_cubes == 0


def test_a_later_export_adds_only_the_new_messages(memory: MemoryOS, tmp_path: Path) -> None:
    memory.import_file(written(tmp_path / "june.jsonl", [turn(at) for at in range(300)]))
    later = memory.import_file(written(tmp_path / "july.jsonl", [turn(at) for at in range(303)]))
    assert (later.num_records, later.num_cubes, later.num_known) == (303, 3, 300)
    cubes = memory.list(limit=1_000)
    assert [cube.text for cube in cubes] == [f"turn {at}" for at in range(303)]
    assert [cube.payload.position for cube in cubes] == list(range(303))


@pytest.mark.parametrize(
    ("change", "num_new"),
    [({}, 0), ({"content": "said otherwise"}, 1), ({"session": "other"}, 1), ({"id": "m9"}, 1), ({"id": None}, 1)],
)
def test_a_message_is_known_by_id_session_and_text(
    memory: MemoryOS, tmp_path: Path, change: dict[str, object], num_new: int
) -> None:
    memory.import_file(written(tmp_path / "first.jsonl", [turn(1)]))
    again = memory.import_file(written(tmp_path / "second.jsonl", [turn(1, **change), turn(2)]))
    assert (again.num_cubes, again.num_known) == (num_new + 1, 1 - num_new)


def test_messages_without_an_id_are_stored_again_from_a_changed_file(memory: MemoryOS, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "yes", "session": "chat"}] * 2
    assert memory.import_file(written(tmp_path / "one.jsonl", said)).num_cubes == 2
    assert memory.import_file(written(tmp_path / "two.jsonl", said * 2)).num_cubes == 4


def test_a_message_that_a_file_holds_twice_is_stored_once(memory: MemoryOS, tmp_path: Path) -> None:
    path = written(tmp_path / "twice.jsonl", [turn(at % (BATCH - 1)) for at in range(BATCH + 5)])
    found = memory.import_file(path)
    assert (found.num_records, found.num_cubes, found.num_known) == (BATCH + 5, BATCH - 1, 6)


def test_what_was_corrected_or_hidden_is_known_and_what_was_erased_comes_back(memory: MemoryOS, tmp_path: Path) -> None:
    memory.import_file(written(tmp_path / "june.jsonl", [turn(at) for at in range(4)]))
    ids = [cube.id for cube in memory.list()]
    memory.update(ids[0], text="corrected", force=True)
    memory.forget(ids[1], act="expire")
    memory.forget(ids[2], act="supersede")
    memory.forget(ids[3], act="erase")
    later = memory.import_file(written(tmp_path / "july.jsonl", [turn(at) for at in range(5)]))
    assert (later.num_cubes, later.num_known) == (2, 3)
    assert sorted(texts(memory)) == ["corrected", "turn 2", "turn 3", "turn 4"]


def test_a_longer_edition_of_a_document_adds_only_its_new_passages(memory: MemoryOS, tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("".join(f"# Part {at}\n\nThe well {at} is deep.\n\n" for at in range(3)))
    assert memory.import_file(path).num_cubes == 3
    path.write_text("".join(f"# Part {at}\n\nThe well {at} is deep.\n\n" for at in range(4)))
    assert memory.import_file(path).num_cubes == 1
    assert len(set(texts(memory))) == len(texts(memory)) == 4


def test_strict_refusal_stores_nothing(memory: MemoryOS, tmp_path: Path) -> None:
    path = written(tmp_path / "chat.jsonl", [*(turn(at) for at in range(2 * BATCH)), "{broken"])
    with pytest.raises(ImportFailedError, match=f"line {2 * BATCH + 1}"):
        memory.import_file(path, is_strict=True)
    assert texts(memory) == []
    assert memory.import_file(path).num_cubes == 2 * BATCH


def test_problems_are_told_with_their_positions_and_the_rest_goes_on(memory: MemoryOS, tmp_path: Path) -> None:
    records = [turn(1), "{broken", turn(2), {"role": "user", "content": 7}, turn(3), {"role": "king", "content": "no"}]
    seen: list[int] = []
    found = memory.import_file(written(tmp_path / "chat.jsonl", records), progress=seen.append)
    assert [one.position for one in found.problems] == ["line 2", "line 4", "line 6"]
    assert (found.num_problems, found.num_records, sum(seen), found.format) == (3, 3, 3, "jsonl")
    assert texts(memory) == ["turn 1", "turn 2", "turn 3"]


def test_of_very_many_problems_the_first_are_told_and_all_are_counted(memory: MemoryOS, tmp_path: Path) -> None:
    found = memory.import_file(written(tmp_path / "bad.jsonl", [turn(1), *["{broken"] * (MAX_PROBLEMS + 5)]))
    assert (len(found.problems), found.num_problems) == (MAX_PROBLEMS, MAX_PROBLEMS + 5)


@dataclass(frozen=True)
class Counted(Importer):
    """Yields numbered turns of one session and notes how far it was read."""

    num: int
    reads: ClassVar[str] = "nothing"
    read_to: ClassVar[list[int]] = [0]

    def recognises(self, path: Path, head: bytes) -> bool:
        return False

    def read(self, path: Path) -> Iterator[Record]:
        for number in range(self.num):
            self.read_to[0] = number + 1
            yield Message(f"turn {number}", session="long", at=datetime(2024, 5, 1, tzinfo=UTC))


def test_records_are_stored_while_the_file_is_read_and_progress_counts_them(memory: MemoryOS, tmp_path: Path) -> None:
    (tmp_path / "any").write_text("any")
    seen: list[tuple[int, int]] = []
    importer = Counted(3 * BATCH + 7)
    memory.import_file(
        tmp_path / "any", importer=importer, progress=lambda num: seen.append((num, importer.read_to[0]))
    )
    assert seen == [(BATCH, BATCH), (BATCH, 2 * BATCH), (BATCH, 3 * BATCH), (7, 3 * BATCH + 7)]


def test_places_in_a_session_go_on_from_batch_to_batch(memory: MemoryOS, tmp_path: Path) -> None:
    """With one date for all turns, only their places tell which follows which."""
    (tmp_path / "any").write_text("any")
    memory.import_file(tmp_path / "any", importer=Counted(2 * BATCH + 1))
    cubes = memory.list(limit=1_000)
    assert [cube.payload.position for cube in cubes] == list(range(2 * BATCH + 1))
    index = memory._parts.index(memory.scope)
    row = index.row_of[cubes[BATCH].id]
    assert index.ids[index.before[row]] == cubes[BATCH - 1].id
    assert index.ids[index.after[row]] == cubes[BATCH + 1].id


def test_killed_at_any_moment_and_run_again_each_record_is_there_exactly_once(tmp_path: Path) -> None:
    folder, num = tmp_path / "memory", 5 * BATCH + 11
    turns = [turn(at) if at % 2 else turn(at, id=None) for at in range(num)]
    path = written(tmp_path / "chat.jsonl", turns)
    rng = random.Random(7)
    stored = 0
    for number in range(4):
        name = rng.choice(["before_apply", "before_commit", "after_commit"])
        process = subprocess.Popen(
            [sys.executable, "-c", IMPORT, str(folder), str(path), f"{name}:kill:1" if number % 2 else ""],
            stdout=subprocess.PIPE,
        )
        if number % 2 == 0:
            process.stdout.readline()
            process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -9
        with MemoryOS.open(folder, user="ana", embedder="none") as memory:
            now_stored = len(texts(memory))
        assert stored <= now_stored < num
        assert now_stored % BATCH == 0
        stored = now_stored
    assert stored > 0
    subprocess.run([sys.executable, "-c", IMPORT, str(folder), str(path), ""], capture_output=True, check=True)
    with MemoryOS.open(folder, user="ana", embedder="none") as memory:
        assert texts(memory) == [f"turn {at}" for at in range(num)]
        assert [cube.payload.position for cube in memory.list(limit=10_000)] == list(range(num))


@pytest.mark.parametrize("name", ROLE.names())
def test_each_format_comes_into_the_memory_as_its_importer_reads_it(memory: MemoryOS, name: str) -> None:
    path = FILES / f"{name}{SUFFIXES.get(name, '.json')}"
    records = [one for one in ROLE.make(name).read(path) if not isinstance(one, Problem)]
    found = memory.import_file(path)
    assert (found.format, found.num_records, found.num_problems) == (name, len(records), 0)
    cubes = memory.list(limit=1_000)
    assert len(cubes) == found.num_cubes
    said = [cube for cube in cubes if cube.header.type == "episode"]
    messages = [one for one in records if isinstance(one, Message)]
    places: dict[str | None, int] = {}
    for cube, message in zip(said, messages, strict=True):
        place = places[message.session] = places.get(message.session, -1) + 1
        payload, header = cube.payload, cube.header
        assert (payload.text, payload.role, payload.speaker) == (message.text, message.role, message.speaker)
        assert (payload.position, header.scope.session) == (place, message.session)
        assert message.at is None or header.valid_at == message.at
        assert (header.source.origin, header.source.ref) == ("import", message.message_id or "")
    for document in (one for one in records if isinstance(one, Document)):
        parts = [cube for cube in cubes if cube.payload.title == document.title and cube.header.type == "resource"]
        assert parts
        assert [cube.payload.position for cube in parts] == list(range(len(parts)))
        assert {cube.header.scope.session for cube in parts} == {document.document_id or document.title}
        assert document.at is None or {cube.header.valid_at for cube in parts} == {document.at}
    assert memory.import_file(path).num_cubes == 0


@pytest.mark.slow
def test_a_file_of_20_mb_needs_little_memory(tmp_path: Path) -> None:
    words = " ".join(f"word{at}" for at in range(1_000))
    path = written(tmp_path / "big.jsonl", [turn(at, content=f"{at} {words}") for at in range(2_600)])
    assert path.stat().st_size > 20_000_000
    ended = subprocess.run(
        [sys.executable, "-c", BIG, str(tmp_path / "memory"), str(path)], capture_output=True, text=True, check=True
    )
    num_cubes, num_mb = map(int, ended.stdout.split())
    assert num_cubes == 2_600
    assert num_mb < 120
