"""P21: what is erased is in no file any more: not as text, not as a name, not as a vector."""

import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engramos.embedders.hashing import Hashing
from engramos.errors import AccessDeniedError, CubeNotFoundError
from engramos.memory import MemoryOS
from engramos.messages import Document, Message
from engramos.plaintext.terms import date_words, terms
from engramos.rows import Filter

CANARIES = {
    "text": "quokkatext",
    "speaker": "Quokkaspeaker",
    "label": "quokkalabel",
    "session": "quokkasession",
    "reference": "quokkaref",
    "title": "quokkatitle",
    "old": "quokkaold",
    "query": "quokkaquery",
}


def found_in(folder: Path, wanted: bytes) -> list[str]:
    """Return the files of a folder that hold some bytes, in any case of letters, in UTF-8 or UTF-16."""
    forms = {wanted.lower(), wanted.decode(errors="ignore").lower().encode("utf-16-le")} - {b""}
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(one in path.read_bytes().lower() for one in forms)]


def traces(folder: Path) -> dict[str, list[str]]:
    """Return the files that hold each canary."""
    found = {name: found_in(folder, canary.encode()) for name, canary in CANARIES.items()}
    return {name: files for name, files in found.items() if files}


def vectors_of(text: str) -> list[bytes]:
    """Return the first and the last bytes of a text's stored vector that say something."""
    whole = Hashing().embed([text])[0].astype("<f2")
    at = np.flatnonzero(whole)
    return [whole[at[0] : at[-1] + 1].tobytes()]


def holds(folder: Path, wanted: bytes) -> list[str]:
    """Return the files that hold exact bytes."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


@pytest.fixture
def seeded(folder: Path) -> Iterator[MemoryOS]:
    """A memory with a thousand other texts and canaries in every place that can hold one."""
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add([f"ordinary text number {number} of ana" for number in range(300)])
        told = Message("she keeps the quokkatext in a drawer", speaker="Quokkaspeaker", message_id="quokkaref-1")
        receipt = memory.add(told, session="quokkasession", labels=["quokkalabel"], idempotency_key="import 7")
        (cube_id,) = receipt.cube_ids
        memory.update(cube_id, text="the quokkaold one", expected_version=1)
        memory.update(cube_id, text="the quokkatext again", expected_version=2)
        memory.add(Document("a page about quokkatext and more", "quokkatitle", document_id="quokkaref-2"))
        memory.add("hidden quokkatext", labels=["quokkalabel"])
        memory.search("where is the quokkaquery of quokkatext")
        memory.context("what about the quokkaquery")
        memory.add([f"later text number {number}" for number in range(300)])
        yield memory


def about_canaries(memory: MemoryOS) -> list[str]:
    """Return the ids of the cubes with a canary."""
    return [cube.id for cube in memory.list(limit=10_000) if "quokka" in repr(cube).lower()]


def test_the_canaries_are_in_the_files_before_an_erasure(seeded: MemoryOS, folder: Path) -> None:
    seeded._parts.flush_uses()
    assert traces(folder).keys() == CANARIES.keys() - {"query"}


def test_a_query_is_written_nowhere(seeded: MemoryOS, folder: Path) -> None:
    seeded.close()
    assert found_in(folder, b"quokkaquery") == []


def test_erasure_by_id_leaves_no_canary_in_any_file(seeded: MemoryOS, folder: Path) -> None:
    done = seeded.forget(about_canaries(seeded), act="erase")
    assert len(done.cube_ids) == 3
    assert done.is_scrubbed
    assert traces(folder) == {}
    seeded.close()
    assert traces(folder) == {}


def test_erasure_by_filter_leaves_nothing_of_what_it_meant(seeded: MemoryOS, folder: Path) -> None:
    seeded.forget(where=Filter(match="quokkatext"), act="erase")
    assert traces(folder) == {}


def test_erasure_by_subject_finds_speaker_label_title_text_and_old_versions(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        (kept,) = memory.add("nothing of her").cube_ids
        memory.add(Message("said by her", speaker="Wilhelmina"))
        memory.add("labelled", labels=["subject:Wilhelmina"])
        memory.add(Document("page", "Letters of Wilhelmina"))
        memory.add("I met wilhelmina's brother")
        (changed,) = memory.add("Wilhelmina was here").cube_ids
        memory.update(changed, text="somebody was here", expected_version=1)
        done = memory.forget(subject="Wilhelmina", act="erase", reason="asked by letter 12")
        assert len(done.cube_ids) == 5
        assert [cube.id for cube in memory.list()] == [kept]
        assert found_in(folder, b"wilhelmina") == []
        assert memory.history(changed).journal[-1].reason == "asked by letter 12"


@pytest.mark.parametrize("name", ["Ana", "Will", "May", "Al", "an", "ana costa"])
def test_erasure_by_a_short_or_common_name_leaves_others_alone(memory: MemoryOS, name: str) -> None:
    memory.add(["I ate a banana", "It will rain all day", "You may also go", "costaplenty", "the anatomy of a wall"])
    expected = {"Will": 1, "May": 1}.get(name, 0)
    assert len(memory.forget(subject=name, act="erase", dry_run=True).cube_ids) == expected
    memory.add(f"I saw {name}, yesterday.")
    assert len(memory.forget(subject=name, act="erase").cube_ids) == expected + 1


def test_a_name_in_a_script_without_spaces_is_found(memory: MemoryOS) -> None:
    memory.add(["昨日田中太郎と話した", "昨日は雨だった"])
    assert len(memory.forget(subject="田中太郎", act="erase").cube_ids) == 1


def test_the_vectors_of_all_versions_are_gone(seeded: MemoryOS, folder: Path) -> None:
    (cube_id, *_) = about_canaries(seeded)
    cube = seeded.get(cube_id)
    day = date_words(cube.header.valid_at)
    (vector,) = vectors_of(f"[{day}] Quokkaspeaker: {cube.text}")
    assert holds(folder, vector) != []
    seeded.forget(about_canaries(seeded), act="erase")
    assert holds(folder, vector) == []
    (other,) = vectors_of(f"[{day}] later text number 7")
    assert holds(folder, other) != []


def test_terms_are_gone_from_tables_and_from_the_full_text_index(seeded: MemoryOS, folder: Path) -> None:
    ((term, _),) = terms("quokkatext").items()
    packed = int(term).to_bytes(4, "little") + b"\x01\x00"
    assert holds(folder, packed) != []
    seeded.forget(about_canaries(seeded), act="erase")
    assert holds(folder, packed) == []
    seeded.close()
    database = sqlite3.connect(folder / "vault.db")
    rows = database.execute("SELECT count(*) FROM text_index WHERE text_index MATCH 'quokkatext'").fetchone()
    database.close()
    assert rows == (0,)


def test_neither_keys_nor_jobs_nor_journal_hold_content(seeded: MemoryOS, folder: Path) -> None:
    seeded.forget(about_canaries(seeded), act="erase", reason="as asked")
    seeded.close()
    database = sqlite3.connect(folder / "vault.db")
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in ("idempotency", "jobs", "journal", "tombstones", "scope_heads", "usage"):
        assert name in tables
        assert "quokka" not in repr(list(database.execute(f"SELECT * FROM {name}"))).lower()
    database.close()


def test_no_verb_returns_what_was_erased_and_it_cannot_come_back(seeded: MemoryOS) -> None:
    ids = about_canaries(seeded)
    seeded.forget(ids, act="erase")
    assert [hit for hit in seeded.search("quokkatext quokkaold", limit=1_000) if "quokka" in hit.text] == []
    assert seeded.list(Filter(match="quokkatext")) == []
    for cube_id in ids:
        with pytest.raises(CubeNotFoundError):
            seeded.restore(cube_id, version=1)
        assert seeded.history(cube_id).tombstone is not None
    replay = seeded.add(
        Message("she keeps the quokkatext in a drawer", speaker="Quokkaspeaker", message_id="quokkaref-1"),
        session="quokkasession",
        labels=["quokkalabel"],
        idempotency_key="import 7",
    )
    assert replay.is_replay
    assert about_canaries(seeded) == []


def test_a_receipt_lists_the_backups_that_still_hold_it(seeded: MemoryOS, tmp_path: Path, folder: Path) -> None:
    target = seeded.backup(tmp_path / "copy")
    done = seeded.forget(about_canaries(seeded), act="erase")
    assert done.backups == (str(target),)
    assert traces(folder) == {}
    assert traces(target) != {}


def test_a_dump_and_a_check_after_an_erasure_know_nothing_of_it(seeded: MemoryOS, tmp_path: Path) -> None:
    seeded.forget(about_canaries(seeded), act="erase")
    (tmp_path / "out").mkdir()
    seeded.dump(tmp_path / "out" / "all.engramos")
    with zipfile.ZipFile(tmp_path / "out" / "all.engramos") as archive:
        assert archive.namelist()
        assert [name for name in archive.namelist() if b"quokka" in archive.read(name).lower()] == []
    assert seeded.verify().findings == ()


def test_what_was_dumped_before_an_erasure_does_not_bring_it_back(seeded: MemoryOS, tmp_path: Path) -> None:
    seeded.dump(tmp_path / "all.engramos")
    seeded.forget(about_canaries(seeded), act="erase")
    seeded.load(tmp_path / "all.engramos")
    assert about_canaries(seeded) == []


def test_a_legal_hold_refuses_an_erasure_whole(memory: MemoryOS) -> None:
    (held,) = memory.add("held", is_held=True).cube_ids
    (free,) = memory.add("free").cube_ids
    with pytest.raises(AccessDeniedError, match="legal hold"):
        memory.forget([free, held], act="erase")
    assert [cube.id for cube in memory.list()] == [held, free]
    memory.update(held, is_held=False, expected_version=1)
    memory.forget([free, held], act="erase")
    assert memory.list() == []


def test_an_erasure_while_another_reads_is_finished_later(seeded: MemoryOS, folder: Path) -> None:
    other = sqlite3.connect(folder / "vault.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM cubes").fetchone()
    done = seeded.forget(about_canaries(seeded), act="erase")
    assert not done.is_scrubbed
    other.execute("ROLLBACK")
    other.close()
    assert seeded.forget(seeded.list(limit=1)[0].id, act="erase").is_scrubbed
    assert traces(folder) == {}


def test_what_its_time_is_over_for_is_erased_with_its_subject(folder: Path, clock) -> None:
    from datetime import timedelta

    with MemoryOS.open(folder, embedder="none") as memory:
        memory.add("Wilhelmina for an hour", keep_for=timedelta(hours=1))
        clock.advance(hours=2)
        memory.forget(subject="Wilhelmina", act="erase")
        assert found_in(folder, b"wilhelmina") == []
