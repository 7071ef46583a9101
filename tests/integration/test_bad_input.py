"""Whatever is given, exactly one clear error of the tree comes back, and nothing is half-written."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.kv_models import engine

from engramos.cube import Grant
from engramos.errors import (
    ConfigError,
    CubeNotFoundError,
    EmbedderMismatchError,
    EngramosError,
    ForeignStoreError,
    InvalidInputError,
    NewerSchemaError,
    QuotaExceededError,
    RequestError,
    StoreError,
    UnknownMethodError,
)
from engramos.memory import VERBS, MemoryOS
from engramos.messages import Document, Message
from engramos.rows import Filter
from engramos.scope import Scope

NAIVE = datetime(2024, 1, 1)
BINARY = bytes(range(256))
HUGE = "x" * 10_000_000
LONE = "half \ud83d of a pair"
TEXTS = ["", "   ", "\n\t ", HUGE, BINARY, bytearray(b"a"), LONE, "with\0nul", None, 7, 1.5, [7], object()]
NAMES = ["", "  ", "a\nb", "a\0b", LONE, "n" * 300, 7, b"bytes", "\u202eback"]


@pytest.fixture
def one(memory: MemoryOS) -> str:
    """The id of the only cube in the memory."""
    return memory.add("the only text").cube_ids[0]


def refuses(memory: MemoryOS, ask: Callable[[], Any], kind: type[EngramosError] = RequestError) -> str:
    """Check that a call gives one error of the tree, in one sentence, and changes nothing; return its text."""
    before = numbers(memory)
    with pytest.raises(kind) as refused:
        ask()
    said = str(refused.value)
    assert 10 < len(said) < 700, said
    assert "Traceback" not in said
    assert numbers(memory) == before
    return said


def numbers(memory: MemoryOS) -> dict[str, Any]:
    """Return what a half-written change would alter."""
    found = memory.stats()
    return {name: found[name] for name in ("cubes", "versions", "searched", "journal_rows", "jobs", "text_bytes")}


def short(value: object) -> str:
    """Return a name for a parameter."""
    return repr(value)[:20].encode("ascii", "replace").decode()


@pytest.mark.parametrize("text", TEXTS, ids=short)
def test_a_text_that_cannot_be_stored_is_refused(memory: MemoryOS, one: str, text: Any) -> None:
    refuses(memory, lambda: memory.add(text))
    refuses(memory, lambda: memory.add(["good", text, "good"]))
    refuses(memory, lambda: Message(text))
    refuses(memory, lambda: memory.search(text))
    refuses(memory, lambda: memory.context(text))
    refuses(memory, lambda: memory.update(one, text="" if text is None else text, expected_version=1))
    if text is not HUGE:
        refuses(memory, lambda: Document(text, "title"))
    if text is not None:
        refuses(memory, lambda: memory.list(Filter(match=text)))


@pytest.mark.parametrize("name", NAMES, ids=short)
def test_a_name_that_cannot_be_one_is_refused(memory: MemoryOS, one: str, name: Any) -> None:
    asks: list[Callable[[], Any]] = [
        lambda: memory.add("text", speaker=name),
        lambda: memory.add("text", session=name),
        lambda: memory.add("text", labels=[name]),
        lambda: memory.add("text", idempotency_key=name),
        lambda: memory.add(Message("text", speaker=name)),
        lambda: memory.add(Message("text", labels=(name,))),
        lambda: Document("text", name),
        lambda: Scope(name, "user"),
        lambda: Scope("tenant", name),
        lambda: Scope("tenant", "user", name),
        lambda: Scope("tenant", "user", None, name),
        lambda: memory.update(one, labels=[name], expected_version=1),
        lambda: memory.update(one, speaker=name, expected_version=1),
        lambda: memory.update(one, grants=[Grant(name, "read")], expected_version=1),
        lambda: memory.forget(subject=name, act="erase"),
        lambda: memory.get(name),
    ]
    for ask in asks:
        refuses(memory, ask)


@pytest.mark.parametrize("labels", ["one text", b"bytes", 7, ["a|b"]], ids=short)
def test_labels_must_be_a_list_without_bars(memory: MemoryOS, one: str, labels: Any) -> None:
    refuses(memory, lambda: memory.add("text", labels=labels), InvalidInputError)
    refuses(memory, lambda: Message("text", labels=labels), InvalidInputError)
    refuses(memory, lambda: memory.update(one, labels=labels, expected_version=1), InvalidInputError)


@pytest.mark.parametrize("at", [NAIVE, "2024-01-01", 1_700_000_000, datetime.max.replace(tzinfo=UTC).date()], ids=short)
def test_a_time_without_zone_or_of_another_type_is_refused(memory: MemoryOS, one: str, at: Any) -> None:
    asks: list[Callable[[], Any]] = [
        lambda: memory.add("text", at=at),
        lambda: Message("text", at=at),
        lambda: Document("text", "title", at=at),
        lambda: memory.search("text", as_of=at),
        lambda: memory.search("text", known_at=at),
        lambda: memory.search("text", asked_at=at),
        lambda: memory.context("text", as_of=at),
        lambda: memory.list(as_of=at),
        lambda: memory.list(known_at=at),
        lambda: memory.get(one, known_at=at),
        lambda: memory.update(one, valid_at=at, expected_version=1),
        lambda: memory.forget(one, act="supersede", at=at),
        lambda: Filter(since=at),
        lambda: Filter(until=at),
    ]
    for ask in asks:
        assert "time" in refuses(memory, ask, InvalidInputError) or isinstance(at, str)


def test_an_end_before_the_beginning_is_refused(memory: MemoryOS, one: str) -> None:
    valid_at = memory.get(one).header.valid_at
    refuses(memory, lambda: memory.update(one, invalid_at=valid_at - timedelta(days=1), expected_version=1))
    refuses(memory, lambda: memory.forget(one, act="supersede", at=valid_at - timedelta(days=1)))


@pytest.mark.parametrize("limit", [-1, 10_001, 10**30, 1.5, "7", None, True], ids=short)
def test_an_absurd_limit_is_refused(memory: MemoryOS, one: str, limit: Any) -> None:
    refuses(memory, lambda: memory.search("text", limit=limit), InvalidInputError)
    refuses(memory, lambda: memory.list(limit=limit), InvalidInputError)
    refuses(memory, lambda: memory.context("text", limit=limit), InvalidInputError)


@pytest.mark.parametrize("budget", [-1, 1.5, "7", None, True], ids=short)
def test_an_absurd_budget_is_refused(memory: MemoryOS, one: str, budget: Any) -> None:
    refuses(memory, lambda: memory.context("text", budget_tokens=budget), InvalidInputError)


@pytest.mark.parametrize("version", [0, -1, 10**30, 1.5, "1", True], ids=short)
def test_an_absurd_version_is_refused(memory: MemoryOS, one: str, version: Any) -> None:
    refuses(memory, lambda: memory.get(one, version=version))
    refuses(memory, lambda: memory.restore(one, version=version))


@pytest.mark.parametrize("trust", [-0.1, 1.1, float("nan"), "high", True], ids=short)
def test_trust_is_a_number_from_0_to_1(memory: MemoryOS, one: str, trust: Any) -> None:
    refuses(memory, lambda: memory.add("text", trust=trust), InvalidInputError)
    refuses(memory, lambda: memory.update(one, trust=trust, expected_version=1), InvalidInputError)
    refuses(memory, lambda: Filter(min_trust=trust), InvalidInputError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda memory, one: memory.add([]),
        lambda memory, one: memory.add(Message("text", role="wizard")),
        lambda memory, one: memory.add({"role": "wizard", "content": "text"}),
        lambda memory, one: memory.add({"content": 7}),
        lambda memory, one: memory.add("text", type="dream"),
        lambda memory, one: memory.add("text", type=7),
        lambda memory, one: memory.add("text", type="adapter"),
        lambda memory, one: memory.add("text", is_held="yes"),
        lambda memory, one: memory.add("text", scope="tenant/user"),
        lambda memory, one: memory.add("text", scope=("tenant", "user")),
        lambda memory, one: memory.update(one, expected_version=1),
        lambda memory, one: memory.update(one, grants=[("ben", "read")], expected_version=1),
        lambda memory, one: memory.update(one, is_held="yes", expected_version=1),
        lambda memory, one: memory.update(one, text="text"),
        lambda memory, one: memory.update(one, text="text", expected_version=2),
        lambda memory, one: memory.forget(act="erase"),
        lambda memory, one: memory.forget(one, act="destroy"),
        lambda memory, one: memory.forget(one, act="erase", subject="ana"),
        lambda memory, one: memory.forget(act="erase", where="everything"),
        lambda memory, one: memory.forget([one, "nothing"], act="erase"),
        lambda memory, one: memory.forget(one, act="erase", expected_version=9),
        lambda memory, one: memory.forget(one, act="expire", reason=LONE),
        lambda memory, one: memory.forget(one, act="supersede", by="nothing"),
        lambda memory, one: memory.restore(one),
        lambda memory, one: memory.restore("nothing"),
        lambda memory, one: memory.list(Filter(types="episode")),
        lambda memory, one: memory.list(Filter(states=("dreaming",))),
        lambda memory, one: memory.list(Filter(match='"open')),
        lambda memory, one: memory.list(Filter(match="a AND")),
        lambda memory, one: memory.list(Filter(match="a) OR (b")),
        lambda memory, one: memory.list(after=LONE),
        lambda memory, one: memory.list(Filter(label=LONE)),
        lambda memory, one: memory.import_file("/nowhere/at/all.json"),
        lambda memory, one: memory.reembed() if memory.settings.embedder == "none" else memory.get("x"),
        lambda memory, one: Grant("ben", "own"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(memory: MemoryOS, one: str, ask: Callable) -> None:
    refuses(memory, lambda: ask(memory, one))


def test_the_error_says_which_item_is_bad_and_nothing_of_the_list_is_stored(memory: MemoryOS) -> None:
    items = [f"text {number}" for number in range(1, 1_001)]
    items[499] = "bad\0"
    assert "item 500" in refuses(memory, lambda: memory.add(items), InvalidInputError)
    items[499] = HUGE
    assert "item 500" in refuses(memory, lambda: memory.add(items), QuotaExceededError)
    assert memory.list() == []


def test_ids_given_twice_count_once(memory: MemoryOS, one: str) -> None:
    assert memory.forget([one, one], act="erase").cube_ids == (one,)


@pytest.mark.parametrize(
    "text",
    [
        "שלום עולם, זה נשמר",
        "مرحبا بالعالم",
        "zero\u200bwidth\u200djoined\ufefftext",
        "\u202eoverride\u202c isolate \u2066x\u2069",
        "e\u0301 is not \u00e9",
        "  spaces around \r\n\tand lines\x0b\x0c\x85\u2028 kept  ",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
        "\x01\x02\x1b[31mcontrol\x7f",
        "\uffff\ufffe\U0010ffff non-characters",
    ],
    ids=short,
)
def test_unusual_text_is_kept_exactly_and_found(memory: MemoryOS, text: str) -> None:
    memory.add("another text")
    (cube_id,) = memory.add(text).cube_ids
    assert memory.get(cube_id).text == text
    assert memory.list()[1].text == text
    assert cube_id in [hit.id for hit in memory.search(text)]
    assert memory.context(text).cube_ids


# The folder


def open_none(folder: Path, **settings: Any) -> MemoryOS:
    """Open a memory that needs no vectors."""
    return MemoryOS.open(folder, **{"embedder": "none", **settings})


def fails_to_open(folder: Path, kind: type[EngramosError], **settings: Any) -> str:
    """Check that a folder is refused with one error, and return its text."""
    with pytest.raises(kind) as refused:
        open_none(folder, **settings).close()
    assert type(refused.value) is kind
    return str(refused.value)


@pytest.fixture
def filled(folder: Path) -> Path:
    """A closed memory with some texts."""
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add([f"text number {number} " + "word " * 50 for number in range(200)])
    return folder


def test_a_file_of_something_else_is_refused_and_left_as_it_is(folder: Path) -> None:
    folder.mkdir()
    for content in (b"this is a letter, not a database " * 9, BINARY * 20, b"PK\x03\x04", b"SQLite"):
        (folder / "vault.db").write_bytes(content)
        assert str(folder) in fails_to_open(folder, ForeignStoreError)
        assert (folder / "vault.db").read_bytes() == content


def test_a_database_of_another_program_is_refused(folder: Path) -> None:
    folder.mkdir()
    database = sqlite3.connect(folder / "vault.db")
    database.execute("CREATE TABLE songs (name TEXT)")
    database.commit()
    database.close()
    assert "another program" in fails_to_open(folder, ForeignStoreError)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_file_cut_short_gives_errors_of_the_tree_only(filled: Path, share: float) -> None:
    path = filled / "vault.db"
    os.truncate(path, int(path.stat().st_size * share))
    raised = 0
    try:
        with open_none(filled) as memory:
            for ask in (memory.list, memory.stats, lambda: memory.search("word"), lambda: memory.add("more")):
                try:
                    ask()
                except EngramosError as error:
                    raised += len(str(error)) > 10
    except EngramosError:
        raised += 1
    assert raised > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_file_with_overwritten_pages_gives_errors_of_the_tree_only(filled: Path, seed: int) -> None:
    import random

    dice = random.Random(seed)
    path = filled / "vault.db"
    content = bytearray(path.read_bytes())
    for _ in range(6):
        at = dice.randrange(100, len(content) - 4_096)
        content[at : at + 2_000] = dice.randbytes(2_000)
    path.write_bytes(content)
    try:
        with open_none(filled) as memory:
            for ask in (
                lambda: memory.list(limit=1_000),
                memory.stats,
                lambda: memory.search("word"),
                lambda: memory.add("x"),
            ):
                try:
                    ask()
                except EngramosError:
                    continue
    except EngramosError:
        pass


def test_an_empty_file_becomes_a_memory(folder: Path) -> None:
    folder.mkdir()
    (folder / "vault.db").touch()
    with open_none(folder) as memory:
        assert memory.add("text").cube_ids


def test_a_newer_schema_is_refused_and_left_as_it_is(filled: Path) -> None:
    database = sqlite3.connect(filled / "vault.db")
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    before = (filled / "vault.db").read_bytes()
    assert "upgrade engramos" in fails_to_open(filled, NewerSchemaError)
    assert (filled / "vault.db").read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/engramos"), Path("/proc/1/memory")):
        assert str(place) in fails_to_open(place, StoreError)
    fails_to_open(Path("a\0b"), StoreError)
    assert (tmp_path / "file").read_text() == "a file"


def test_a_backup_onto_something_is_refused(memory: MemoryOS, one: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    refuses(memory, lambda: memory.backup(tmp_path / "there"), StoreError)
    refuses(memory, lambda: memory.backup(Path("/proc/copy")), StoreError)
    assert list(tmp_path.glob("*.partial")) == []


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"embedder": "no_such"}, UnknownMethodError),
        ({"embedder": "{ method = 'hashing', dimensions = 7 }"}, ConfigError),
        ({"embedder": "{ method = 'hashing', dims = -7 }"}, ConfigError),
        ({"embedder": "{ broken"}, ConfigError),
        ({"durability": "sometimes"}, ConfigError),
        ({"driver": "oracle"}, ConfigError),
        ({"index_bytes": "many"}, ConfigError),
        ({"index_bytes": 5}, ConfigError),
        ({"batch": 0}, ConfigError),
        ({"failpoint": "nowhere:kill"}, ConfigError),
        ({"foldr": "x"}, ConfigError),
        ({"tenant": ""}, InvalidInputError),
        ({"user": "a\nb"}, InvalidInputError),
    ],
    ids=short,
)
def test_a_wrong_setting_is_refused(folder: Path, settings: dict, kind: type[EngramosError]) -> None:
    fails_to_open(folder, kind, **settings)


def test_another_embedder_is_refused_by_name(filled: Path) -> None:
    said = fails_to_open(filled, EmbedderMismatchError, embedder="{ method = 'hashing', dims = 64 }")
    assert "dims=256" in said
    assert "dims=64" in said
    with MemoryOS.open(filled, embedder="hashing") as memory:
        assert len(memory.search("text number 7")) == 10


def test_every_verb_of_a_closed_memory_says_so(folder: Path, tmp_path: Path) -> None:
    memory = MemoryOS.open(folder, embedder="hashing")
    (cube_id,) = memory.add("text").cube_ids
    (tmp_path / "notes.txt").write_text("a note")
    memory.close()
    memory.close()
    asks: dict[str, Callable[[], Any]] = {
        "add": lambda: memory.add("text"),
        "import_file": lambda: memory.import_file(tmp_path / "notes.txt"),
        "search": lambda: memory.search("text"),
        "context": lambda: memory.context("text"),
        "get": lambda: memory.get(cube_id),
        "list": memory.list,
        "history": lambda: memory.history(cube_id),
        "update": lambda: memory.update(cube_id, text="other", expected_version=1),
        "forget": lambda: memory.forget(cube_id, act="erase"),
        "restore": lambda: memory.restore(cube_id),
        "consolidate": memory.consolidate,
        "explain": lambda: memory.explain(cube_id),
        "stats": memory.stats,
        "backup": lambda: memory.backup(tmp_path / "copy"),
        "reembed": memory.reembed,
        "run_jobs": memory.run_jobs,
        "dump": lambda: memory.dump(tmp_path / "out.engramos"),
        "kv": lambda: memory.kv(engine()).build("text"),
        "parametric": lambda: memory.parametric(engine()),
    }
    # verify reads the file by a connection of its own; load has its tests beside dump
    assert set(VERBS) - asks.keys() == {"close", "load", "verify"}
    for name in set(VERBS) & asks.keys():
        with pytest.raises(StoreError, match="closed"):
            asks[name]()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory", "notes.txt"]


def test_a_folder_that_vanishes_gives_an_error_of_the_tree(folder: Path) -> None:
    memory = open_none(folder)
    memory.add("text")
    shutil.rmtree(folder)
    with contextlib.suppress(EngramosError):
        memory.add("more")
    with pytest.raises(CubeNotFoundError):
        memory.get("nothing")
    with contextlib.suppress(EngramosError):
        memory.close()
    memory._parts.vault.close()
