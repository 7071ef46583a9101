"""dump and load: whole, or not at all; what was erased stays erased; an archive is never trusted."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engramos import failpoints
from engramos.changes import Create, Request
from engramos.clock import new_id, now
from engramos.cube import ActivationPayload, CubeType, Edge, Form, Header, MemCube, Relation, encode
from engramos.errors import (
    ArchiveError,
    CubeNotFoundError,
    EmbedderMismatchError,
    StoreError,
    VersionConflictError,
)
from engramos.memory import MemoryOS
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.vault.archive import ArchiveReader
from engramos.vault.archive_writer import ArchiveWriter
from engramos.verbs.dump import ContentDigest

CANARY = "zanzibar-quetzal-7741"
Streams = dict[str, list[dict[str, Any]]]


def fill(memory: MemoryOS) -> list[str]:
    ids = list(memory.add(["I moved to Lisbon.", "My sister is Nina.", "Rent is due."], labels=["a"]).cube_ids)
    memory.update(ids[0], text="I moved to Porto.", expected_version=1, trust=0.5)
    memory.forget(ids[1], act="expire")
    erased = memory.add("Erased before the dump.").cube_ids[0]
    memory.forget(erased, act="erase")
    memory.forget(ids[2], act="supersede", by=ids[0])
    memory.search("Porto")
    return ids


def add_blob(memory: MemoryOS, data: bytes | None = None, parent: str | None = None) -> tuple[str, str]:
    """Store a cube of the activation form and return its id and the digest of its blob."""
    data = safetensors() if data is None else data
    digest, num_bytes = memory._parts.vault.blobs.put(memory.scope.tenant, data)
    header = Header(new_id(), 1, Form.ACTIVATION, CubeType.PREFIX, memory.scope, now(), actor="ana")
    if parent is not None:
        header = replace(header, parents=(Edge(Relation.DERIVED_FROM, parent, 1),))
    payload = ActivationPayload(digest, num_bytes, {"weights": "w"}, (1, 2), (0, 1), 1.0)
    change = Create(MemCube(header, payload))
    memory._parts.vault.commit([change], scope=memory.scope, request=Request("ana", new_id()))
    return header.cube_id, digest


def safetensors() -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(range(16))


def opened(folder: Path, **settings: Any) -> MemoryOS:
    return MemoryOS.open(folder, **{"user": "ana", "embedder": "none"} | settings)


def everything(memory: MemoryOS, scope: Scope | None = None) -> list:
    states = ("generated", "activated", "merged", "archived", "expired", "frozen")
    cubes = memory.list(Filter(states=states), limit=1_000, scope=scope)
    return [memory.history(cube.id, scope=scope).versions for cube in cubes]


def streams_of(path: Path) -> tuple[dict, Streams]:
    with ArchiveReader(path) as archive:
        return archive.info, {name: list(archive.records(name)) for name in archive.streams}


def write(path: Path, info: dict, streams: Streams, blobs: dict[str, Path] | None = None) -> Path:
    """Write an archive whose checksums and digest are right, whatever the records say."""
    digest = ContentDigest()
    # what is no text, or has other keys, is refused before the digest is compared
    with suppress(UnicodeEncodeError, KeyError):
        for record in streams["cubes"]:
            digest.add_version(encode(record["header"]), encode(record["payload"]), record["text"])
        for record in streams["tombstones"]:
            digest.add_tombstone(record["cube_id"], record["erased_at"], record["num_versions"])
    with ArchiveWriter(path, info | {"digest": digest.hexdigest()}, overwrite=True) as writer:
        for name, records in streams.items():
            writer.open_stream(name)
            for record in records:
                writer.write(name, record)
        for one, source in (blobs or {}).items():
            writer.add_blob(one, source)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with three cubes, a tombstone and some uses."""
    folder = tmp_path_factory.mktemp("archive")
    with opened(folder / "source") as memory:
        fill(memory)
        memory.dump(folder / "a.engramos")
    return folder / "a.engramos"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a memory with one cube."""
    folder = tmp_path_factory.mktemp("begun") / "memory"
    with opened(folder) as memory:
        memory.add("It was here before.")
    return folder


def test_everything_comes_back_with_its_times_states_trust_and_uses(tmp_path: Path) -> None:
    with opened(tmp_path / "a", embedder="hashing") as memory:
        ids = fill(memory)
        cube_id, digest = add_blob(memory, parent=ids[0])
        dumped = memory.dump(tmp_path / "a.engramos")
        before = everything(memory)
        uses = [memory._parts.vault.usage("local", one) for one in ids]
    assert dumped.num_bytes == (tmp_path / "a.engramos").stat().st_size
    with opened(tmp_path / "b", embedder="hashing") as memory:
        loaded = memory.load(tmp_path / "a.engramos")
        assert (loaded.num_cubes, loaded.num_versions) == (dumped.num_cubes, dumped.num_versions) == (4, 8)
        assert everything(memory) == before
        assert [memory._parts.vault.usage("local", one) for one in ids] == uses
        assert memory._parts.vault.blobs.read("local", digest) == safetensors()
        assert [child for child, _, _ in memory._parts.vault.children("local", ids[0])] == [cube_id]
        assert memory.search("Porto")[0].id == ids[0]
        assert memory.verify().findings == ()


def test_vectors_and_terms_are_not_in_an_archive(tmp_path: Path) -> None:
    with opened(tmp_path / "a", embedder="hashing") as memory:
        fill(memory)
        memory.dump(tmp_path / "a.engramos")
    _, streams = streams_of(tmp_path / "a.engramos")
    assert set(streams) == {"cubes", "tombstones", "journal", "usage"}
    assert "vector" not in json.dumps(streams)
    assert "terms" not in json.dumps(streams)


def test_a_dump_holds_one_user_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        fill(memory)
        memory.add(CANARY, scope=Scope("local", "bob"))
        memory.add(CANARY, scope=Scope("other", "ana"))
        memory.dump(tmp_path / "a.engramos")
    assert CANARY not in json.dumps(streams_of(tmp_path / "a.engramos"))


def test_a_load_into_another_scope_rewrites_the_headers(archive: Path, tmp_path: Path) -> None:
    target = Scope("acme", "bob")
    with opened(tmp_path / "b") as memory:
        memory.load(archive, scope=target)
        found = everything(memory, target)
        assert {(cube.header.scope.tenant, cube.header.scope.user) for versions in found for cube in versions} == {
            ("acme", "bob")
        }
        assert everything(memory) == []
        assert memory.verify().findings == ()


def test_an_erased_cube_is_in_no_dump_and_an_older_archive_does_not_bring_it_back(tmp_path: Path) -> None:
    with opened(tmp_path / "a", embedder="hashing") as memory:
        cube_id = memory.add(f"My code word is {CANARY}.", labels=[CANARY]).cube_ids[0]
        kept = memory.add("Something else.").cube_ids[0]
        _, digest = add_blob(memory, safetensors(), parent=cube_id)
        memory.dump(tmp_path / "old.engramos")
        assert CANARY in json.dumps(streams_of(tmp_path / "old.engramos"))
        memory.forget(cube_id, act="erase")
        memory.dump(tmp_path / "new.engramos")
        assert CANARY not in json.dumps(streams_of(tmp_path / "new.engramos"))
        assert CANARY.encode() not in (tmp_path / "new.engramos").read_bytes()
        loaded = memory.load(tmp_path / "old.engramos")
        assert (loaded.num_cubes, loaded.num_known, loaded.num_erased) == (0, 1, 2)
        with pytest.raises(CubeNotFoundError):
            memory.get(cube_id)
        assert [cube.id for cube in memory.list()] == [kept]
        assert memory._parts.vault.blobs.digests("local") == []
        assert memory.search(CANARY) == [] or CANARY not in memory.search(CANARY)[0].text
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
    assert digest not in [path.name for path in files]


def test_a_tombstone_of_the_archive_keeps_an_older_archive_out(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        cube_id = memory.add(CANARY).cube_ids[0]
        memory.dump(tmp_path / "old.engramos")
        memory.forget(cube_id, act="erase")
        memory.dump(tmp_path / "new.engramos")
        erased = memory._parts.vault.tombstones(memory.scope)
    with opened(tmp_path / "b") as memory:
        memory.load(tmp_path / "new.engramos")
        assert memory._parts.vault.tombstones(memory.scope) == erased
        assert memory.load(tmp_path / "old.engramos").num_erased == 1
        assert memory.list() == []
        assert memory.verify().findings == ()


def test_a_tombstone_of_the_archive_erases_nothing_here(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        cube_id = memory.add("Kept here.").cube_ids[0]
        memory.dump(tmp_path / "old.engramos")
        memory.forget(cube_id, act="erase")
        memory.dump(tmp_path / "new.engramos")
    with opened(tmp_path / "b") as memory:
        memory.load(tmp_path / "old.engramos")
        memory.load(tmp_path / "new.engramos")
        assert memory.get(cube_id).text == "Kept here."
        assert memory.verify().findings == ()


def test_an_edge_to_what_was_erased_does_not_come_back(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        old, new = memory.add(["I live in Rome.", "I live in Oslo."]).cube_ids
        memory.forget(old, act="supersede", by=new)
        memory.forget(old, act="erase")
        memory.update(new, text="I live in Oslo now.", force=True)
        assert memory._parts.vault.children("local", old) == []
        memory.dump(tmp_path / "a.engramos")
        assert memory.verify().findings == ()
    with opened(tmp_path / "b") as memory:
        memory.load(tmp_path / "a.engramos")
        assert memory._parts.vault.children("local", old) == []
        assert memory.verify().findings == ()


def test_a_cube_with_other_versions_here_is_a_conflict_and_nothing_is_loaded(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        first = memory.add("The first.").cube_ids[0]
        memory.dump(tmp_path / "first.engramos")
        memory.update(first, text="The first, changed.", expected_version=1)
        new = memory.add("The second.").cube_ids[0]
        memory.dump(tmp_path / "both.engramos")
    with opened(tmp_path / "b") as memory:
        memory.load(tmp_path / "first.engramos")
        with pytest.raises(VersionConflictError) as caught:
            memory.load(tmp_path / "both.engramos")
        assert caught.value.cube_id == first
        with pytest.raises(CubeNotFoundError):
            memory.get(new)
        assert memory.verify().findings == ()


@pytest.mark.parametrize("place", ["before_apply", "before_commit"])
def test_a_load_that_is_cut_off_leaves_nothing_and_can_be_run_again(archive: Path, tmp_path: Path, place: str) -> None:
    with opened(tmp_path / "b") as memory:
        failpoints.arm(f"{place}:raise")
        with pytest.raises(StoreError, match="failpoint"):
            memory.load(archive)
        failpoints.arm(None)
        assert everything(memory) == []
        assert memory.verify().findings == ()
        assert memory.load(archive).num_cubes == 3


def test_missing_vectors_are_told_by_verify_and_made_by_the_next_load(archive: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "b", embedder="hashing") as memory:
        memory.add("It has a vector.")
    with opened(tmp_path / "b", embedder="none") as memory:
        memory.load(archive)
    with opened(tmp_path / "b", embedder="hashing") as memory:
        problems = {finding.problem for finding in memory.verify().findings}
        assert problems == {"it has no vector of the current embedder"}
        assert memory.load(archive).num_cubes == 0
        assert memory.verify().findings == ()


def test_a_load_with_another_embedder_is_refused(archive: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "b", embedder="hashing") as memory:
        memory.add("It has a vector.")
    memory = MemoryOS.open_for_reembed(tmp_path / "b", user="ana", embedder='{ method = "hashing", dims = 64 }')
    with memory, pytest.raises(EmbedderMismatchError):
        memory.load(archive)


def test_a_dump_is_one_state_while_others_write(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        stop = threading.Event()

        def add_pairs() -> None:
            while not stop.is_set():
                memory.add(["One of two.", "Two of two."])

        writer = threading.Thread(target=add_pairs)
        writer.start()
        try:
            counts = [memory.dump(tmp_path / f"{n}.engramos").num_cubes for n in range(5)]
        finally:
            stop.set()
            writer.join()
    assert all(count % 2 == 0 for count in counts)
    for number, count in enumerate(counts):
        with opened(tmp_path / f"to{number}") as memory:
            assert memory.load(tmp_path / f"{number}.engramos").num_cubes == count


def test_a_taken_name_is_refused_and_overwritten_only_if_asked(tmp_path: Path) -> None:
    target = tmp_path / "a.engramos"
    with opened(tmp_path / "a") as memory:
        assert memory.dump(target).num_cubes == 0
        memory.add("One more.")
        with pytest.raises(ArchiveError, match="there already"):
            memory.dump(target)
        assert memory.dump(target, overwrite=True).num_cubes == 1


def change(name: str, place: int, edit: Callable[[dict], Any]) -> Callable[[Streams], None]:
    def apply(streams: Streams) -> None:
        edit(streams[name][place])

    return apply


def header(key: str, value: Any) -> Callable[[Streams], None]:
    return change("cubes", 0, lambda record: record["header"].__setitem__(key, value))


def payload(key: str, value: Any) -> Callable[[Streams], None]:
    return change("cubes", 0, lambda record: record["payload"].__setitem__(key, value))


def bury_living(streams: Streams) -> None:
    cube_id = streams["cubes"][0]["header"]["id"]
    streams["tombstones"] = [{"cube_id": cube_id, "erased_at": 1, "num_versions": 1}]


HOSTILE: dict[str, Callable[[Streams], None]] = {
    "id with a path": header("id", "../../../../etc/passwd0000"),
    "id of another shape": header("id", "x"),
    "id that is no text": header("id", 5),
    "version as text": header("v", "1"),
    "version as truth": header("v", True),
    "version with a gap": header("v", 2),
    "unknown state": header("state", "deleted"),
    "unknown form": header("form", "binary"),
    "type of another form": header("type", "adapter"),
    "unknown key": header("admin", True),
    "no time": change("cubes", 0, lambda record: record["header"].pop("created_at")),
    "time as text": header("created_at", "now"),
    "time beyond all years": header("created_at", 10**30),
    "trust above one": header("trust", 1.5),
    "trust as truth": header("trust", True),
    "default written out": header("trust", 1.0),
    "scope of another tenant": header("scope", ["acme", "ana", None, None]),
    "scope of another user": header("scope", ["local", "bob", None, None]),
    "scope too short": header("scope", ["local", "ana"]),
    "labels as a text": header("labels", "abc"),
    "label with a bar": header("labels", ["a|b"]),
    "parents without version": header("parents", [["derived_from", "0" * 26]]),
    "unknown relation": header("parents", [["eats", "0" * 26, 1]]),
    "grant of an unknown right": header("grants", [["bob", "own"]]),
    "actor with a line break": header("actor", "ana\nroot"),
    "actor as number": header("actor", 7),
    "half a surrogate pair": header("model", "\ud800"),
    "retention as text": header("retention", ["soon", False]),
    "invalid before valid": header("invalid_at", 1),
    "unknown role": payload("role", "root"),
    "position below zero": payload("position", -1),
    "position that no index can hold": payload("position", 2**40),
    "position as text": payload("position", "1"),
    "unknown payload key": payload("exec", "x"),
    "attributes as list": payload("attributes", [1]),
    "no text": change("cubes", 0, lambda record: record.__setitem__("text", None)),
    "empty text": change("cubes", 0, lambda record: record.__setitem__("text", " ")),
    "text with NUL": change("cubes", 0, lambda record: record.__setitem__("text", "a\0b")),
    "text with half a pair": change("cubes", 0, lambda record: record.__setitem__("text", "\udfff")),
    "text too long": change("cubes", 0, lambda record: record.__setitem__("text", "a" * 1_000_001)),
    "record with more keys": change("cubes", 0, lambda record: record.__setitem__("more", 1)),
    "header as list": change("cubes", 0, lambda record: record.__setitem__("header", [])),
    "cube twice": lambda streams: streams["cubes"].append(streams["cubes"][0]),
    "versions out of order": lambda streams: streams["cubes"].reverse(),
    "first version missing": lambda streams: streams["cubes"].pop(0),
    "erased and there": bury_living,
    "tombstone without number": change("tombstones", 0, lambda record: record.pop("num_versions")),
    "tombstone of no version": change("tombstones", 0, lambda record: record.__setitem__("num_versions", 0)),
    "tombstone twice": lambda streams: streams["tombstones"].append(streams["tombstones"][0]),
    "strength above one": change("usage", 0, lambda record: record.__setitem__("strength", 2.0)),
    "uses below zero": change("usage", 0, lambda record: record.__setitem__("uses", -1)),
    "journal row without kind": change("journal", 0, lambda record: record.pop("kind")),
    "journal row as text": change("journal", 0, lambda record: record.__setitem__("seq", "1")),
    "another stream": lambda streams: streams.update(secrets=[{}]),
    "a stream missing": lambda streams: streams.pop("usage") and None,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_and_nothing_is_loaded(
    archive: Path, begun: Path, tmp_path: Path, name: str
) -> None:
    info, streams = streams_of(archive)
    HOSTILE[name](streams)
    write(tmp_path / "hostile.engramos", info, streams)
    with opened(shutil.copytree(begun, tmp_path / "b")) as memory:
        with pytest.raises(ArchiveError, match=r"nothing was loaded|other streams"):
            memory.load(tmp_path / "hostile.engramos")
        assert [versions[0].text for versions in everything(memory)] == ["It was here before."]
        assert memory._parts.vault.tombstones(memory.scope) == []
        assert memory.verify().findings == ()


def test_the_same_archive_written_again_without_an_edit_is_loaded(archive: Path, tmp_path: Path) -> None:
    info, streams = streams_of(archive)
    with opened(tmp_path / "b") as memory:
        assert memory.load(write(tmp_path / "same.engramos", info, streams)).num_cubes == 3


def test_a_refusal_names_stream_and_line(archive: Path, tmp_path: Path) -> None:
    info, streams = streams_of(archive)
    streams["cubes"][2]["header"]["state"] = "deleted"
    write(tmp_path / "hostile.engramos", info, streams)
    with opened(tmp_path / "b") as memory, pytest.raises(ArchiveError, match=r"cubes\.jsonl line 3 "):
        memory.load(tmp_path / "hostile.engramos")


@pytest.mark.parametrize("scope", [None, [], {"tenant": "local"}, {"tenant": "local", "user": ""}])
def test_an_archive_that_does_not_say_whose_it_is_is_refused(archive: Path, tmp_path: Path, scope: Any) -> None:
    info, streams = streams_of(archive)
    write(tmp_path / "hostile.engramos", info | {"scope": scope}, streams)
    with opened(tmp_path / "b") as memory, pytest.raises(ArchiveError, match="whose it is"):
        memory.load(tmp_path / "hostile.engramos")


def test_a_blob_that_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as memory:
        add_blob(memory, b"\x80\x04this would be a pickle.")
        memory.dump(tmp_path / "a.engramos")
    with opened(tmp_path / "b") as memory:
        with pytest.raises(ArchiveError, match="damaged or hostile"):
            memory.load(tmp_path / "a.engramos")
        assert memory._parts.vault.blobs.digests("local") == []


def test_a_blob_that_no_cube_uses_and_a_cube_without_its_blob_are_refused(archive: Path, tmp_path: Path) -> None:
    info, streams = streams_of(archive)
    (tmp_path / "blob").write_bytes(safetensors())
    digest = hashlib.sha256(safetensors()).hexdigest()
    write(tmp_path / "more.engramos", info, streams, {digest: tmp_path / "blob"})
    with opened(tmp_path / "c") as memory:
        add_blob(memory)
        memory.dump(tmp_path / "c.engramos")
    info, streams = streams_of(tmp_path / "c.engramos")
    write(tmp_path / "less.engramos", info, streams)
    with opened(tmp_path / "b") as memory:
        with pytest.raises(ArchiveError, match="no cube uses"):
            memory.load(tmp_path / "more.engramos")
        with pytest.raises(ArchiveError, match="is not in the archive"):
            memory.load(tmp_path / "less.engramos")
        assert memory._parts.vault.blobs.digests("local") == []
        assert everything(memory) == []


def test_uses_of_another_users_cubes_are_not_set(archive: Path, tmp_path: Path) -> None:
    info, streams = streams_of(archive)
    with opened(tmp_path / "b", user="bob") as memory:
        other = memory.add("Bob's own.").cube_ids[0]
    streams["usage"] = [{"cube_id": other, "uses": 99, "last_used_at": 1, "strength": 0.0}]
    with opened(tmp_path / "b") as memory:
        memory.load(write(tmp_path / "hostile.engramos", info, streams))
        assert memory._parts.vault.usage("local", other).uses == 0
