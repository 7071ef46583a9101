"""verify finds every flipped byte, reads never serve one silently, and repair brings back what can be brought back.

Not covered, because nothing in the file says what they were: `usage`, `jobs`, `backups`, and of `idempotency` the key,
the salt and the digest.
"""

import json
import math
import random
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engramos.changes import Create, Request
from engramos.clock import new_id, now
from engramos.cube import ActivationPayload, CubeType, Edge, Form, Header, MemCube, Relation
from engramos.errors import EngramosError
from engramos.memory import MemoryOS
from engramos.scope import Scope
from engramos.vault.archive import ArchiveReader

NUM_TRIALS = 900
NUM_BLOB_TRIALS = 100
SOURCES = {
    "cubes": (),
    "versions": (),
    "lineage": (),
    "tombstones": (),
    "journal": (),
    "scope_heads": (),
    "vectors": (),
    "embedders": (),
    "idempotency": ("key", "salt", "digest"),
}
"""Tables, and the columns of each that have no second source."""


def fill(memory: MemoryOS) -> None:
    first = memory.add(
        ["I moved to Lisbon in May.", "My sister is called Nina.", "The invoice is due on Friday."],
        labels=["home"],
        session="s1",
        trust=0.7,
        idempotency_key="first",
    ).cube_ids
    newer = memory.add({"role": "user", "content": "Now I live in Porto."}, speaker="Ana").cube_ids[0]
    memory.update(first[0], text="I moved to Lisbon in June.", expected_version=1)
    memory.forget(first[0], act="supersede", by=newer)
    memory.forget(first[1], act="erase")
    memory.forget(first[2], act="expire")
    other = Scope("acme", "bob")
    memory.add(["The build runs at night.", "Mornings are for reading."], scope=other)
    parent = memory.list(scope=other)[0]
    digest, num_bytes = memory._parts.vault.blobs.put("acme", safetensors())
    payload = ActivationPayload(digest, num_bytes, {"weights": "w"}, (1, 2), (0, 1), 1.0)
    header = Header(new_id(), 1, Form.ACTIVATION, CubeType.PREFIX, other, now(), actor="bob")
    header = replace(header, parents=(Edge(Relation.DERIVED_FROM, parent.id, 1),))
    request = Request("bob", new_id())
    memory._parts.vault.commit([Create(MemCube(header, payload))], scope=other, request=request)


def safetensors() -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(range(16))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryOS]:
    with MemoryOS.open(tmp_path / "memory", user="ana", embedder="hashing") as memory:
        fill(memory)
        yield memory


def attacker(memory: MemoryOS) -> sqlite3.Connection:
    connection = sqlite3.connect(memory._parts.vault.path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.text_factory = bytes
    return connection


def flipped(value: object, chance: random.Random) -> object:
    """Return a value with one bit flipped; None where it has none."""
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(63))
    if isinstance(value, float):
        bits = struct.unpack("<Q", struct.pack("<d", value))[0] ^ (1 << chance.randrange(64))
        found = struct.unpack("<d", struct.pack("<Q", bits))[0]
        return None if math.isnan(found) else found
    if isinstance(value, bytes) and value:
        at = chance.randrange(len(value))
        return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]
    return None


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, tuple[str, int]]:
    """Return declared type and place in the primary key of each column."""
    return {
        name.decode(): (kind.decode(), key)
        for _, name, kind, _, _, key in connection.execute(f"PRAGMA table_info({table})")
    }


def tamper(connection: sqlite3.Connection, table: str, chance: random.Random) -> tuple[str, list] | None:
    """Flip one bit of a random column of a random row; return the column and the table's rows as they were."""
    columns = columns_of(connection, table)
    names = list(columns)
    rows = connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
    row = chance.choice(rows)
    column = chance.choice([name for name in names if name not in SOURCES[table]])
    value = flipped(row[names.index(column)], chance)
    if value is None:
        return None
    keys = [name for name in names if columns[name][1]]
    new = "CAST(? AS TEXT)" if columns[column][0] == "TEXT" else "?"
    where = " AND ".join(f"{key} = " + ("CAST(? AS TEXT)" if columns[key][0] == "TEXT" else "?") for key in keys)
    values = [value, *(row[names.index(key)] for key in keys)]
    try:
        num = connection.execute(f"UPDATE {table} SET {column} = {new} WHERE {where}", values).rowcount
    except sqlite3.IntegrityError:
        return None
    assert num == 1
    return column, rows


def put_back(connection: sqlite3.Connection, table: str, rows: list) -> None:
    columns = columns_of(connection, table)
    marks = ["CAST(? AS TEXT)" if kind == "TEXT" else "?" for kind, _ in columns.values()]
    connection.execute("BEGIN")
    connection.execute(f"DELETE FROM {table}")
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(marks)})", rows)
    connection.execute("COMMIT")


def scopes(memory: MemoryOS) -> tuple[Scope, Scope]:
    return memory.scope, Scope("acme", "bob")


def read_all(memory: MemoryOS, ids: list[tuple[Scope, str]]) -> list[MemCube]:
    """Return whatever the reading verbs still return; what they refuse is left out."""
    memory._parts.indexes.clear()
    found: list[MemCube] = []
    for scope, cube_id in ids:
        try:
            found.append(memory.get(cube_id, scope=scope))
        except EngramosError:
            continue
    for scope in scopes(memory):
        for read in (
            lambda scope=scope: memory.list(scope=scope),
            lambda scope=scope: [hit.cube for hit in memory.search("Lisbon Porto sister build reading", scope=scope)],
        ):
            try:
                found.extend(read())
            except EngramosError:
                continue
    return found


def test_a_sound_memory_has_no_findings(memory: MemoryOS) -> None:
    report = memory.verify()
    assert report.findings == ()
    assert report.is_sound
    assert {"versions", "cubes", "journal", "edges", "vectors", "texts", "blobs", "tombstones"} <= {
        name for name, num in report.num_checked.items() if num > 0
    }


def test_every_flipped_bit_of_a_row_is_found_and_none_is_served(memory: MemoryOS) -> None:
    chance = random.Random(20)
    connection = attacker(memory)
    ids = [(scope, cube.id) for scope in scopes(memory) for cube in memory.list(scope=scope)]
    written = [cube for scope, cube_id in ids for cube in memory.history(cube_id, scope=scope).versions]
    tried, missed = Counter(), []
    while tried.total() < NUM_TRIALS:
        table = chance.choice(list(SOURCES))
        tampered = tamper(connection, table, chance)
        if tampered is None:
            continue
        column, rows = tampered
        tried[table] += 1
        if not memory.verify().findings:
            missed.append(f"{table}.{column}")
        if table in ("cubes", "versions", "vectors"):
            served = [cube for cube in read_all(memory, ids) if cube not in written]
            assert served == [], f"{table}.{column}"
        put_back(connection, table, rows)
    print(f"\nflipped bits found: {NUM_TRIALS - len(missed)} of {NUM_TRIALS}; by table {dict(tried)}")
    assert missed == []
    assert memory.verify().findings == ()
    connection.close()


def test_every_flipped_bit_of_a_blob_is_found_and_none_is_served(memory: MemoryOS) -> None:
    chance = random.Random(21)
    blobs = memory._parts.vault.blobs
    digest = blobs.digests("acme")[0]
    with blobs.open("acme", digest) as file:
        path, data = Path(file.name), file.read()
    for _ in range(NUM_BLOB_TRIALS):
        path.write_bytes(flipped(data, chance))
        assert [finding.what for finding in memory.verify().findings] == ["blob"]
        with pytest.raises(EngramosError, match="damaged"):
            blobs.read("acme", digest)
    path.write_bytes(data)
    assert memory.verify().is_sound


def test_a_version_whose_digest_an_attacker_made_anew_is_found_by_its_seal(memory: MemoryOS) -> None:
    from engramos.vault.sqlite.records import digest_of

    connection = attacker(memory)
    connection.text_factory = str
    cube = memory.list()[0]
    where = (cube.id, cube.version)
    header, payload = connection.execute(
        "SELECT header, payload FROM versions WHERE cube_id = ? AND version = ?", where
    ).fetchone()
    values = ("I moved to Madrid.", digest_of(header, payload, "I moved to Madrid."), *where)
    connection.execute("UPDATE versions SET text = ?, digest = ? WHERE cube_id = ? AND version = ?", values)
    findings = memory.verify().findings
    assert any(finding.what == "version" and "sealed" in finding.problem for finding in findings)
    connection.close()


def test_words_missing_from_the_full_text_index_are_found_and_put_back(memory: MemoryOS) -> None:
    connection = attacker(memory)
    connection.execute("INSERT INTO text_index (text_index) VALUES ('delete-all')")
    assert {finding.what for finding in memory.verify().findings} == {"text_index"}
    report = memory.verify(repair=True)
    assert report.is_sound
    assert all(finding.is_repaired for finding in report.findings)
    assert memory.verify().findings == ()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cubes SET state = 'archived' WHERE state = 'activated'",
        "UPDATE cubes SET terms = NULL",
        "UPDATE cubes SET terms = x'00', labels = 'x'",
        "UPDATE cubes SET cube_key = cube_key + 100",
        "UPDATE versions SET cube_key = cube_key + 100",
        "DELETE FROM cubes",
        "UPDATE versions SET created_us = 5, blob = NULL",
        "UPDATE versions SET seq = 999 WHERE version = 1",
        "UPDATE versions SET version = version + 7 WHERE version = 2",
        "DELETE FROM vectors",
        "UPDATE vectors SET vector = x'0000', checksum = 1105811451",
        "UPDATE vectors SET cube_key = cube_key + 100",
        "UPDATE embedders SET is_current = 0",
        "DELETE FROM lineage",
        "UPDATE lineage SET parent_version = parent_version + 1",
        "UPDATE text_index_config SET v = 3",
        "INSERT INTO usage VALUES ('local', 'nobody', 1, 1, 1.0)",
    ],
)
def test_what_is_derived_is_repaired_without_a_backup(memory: MemoryOS, statement: str) -> None:
    before = [cube for scope in scopes(memory) for cube in memory.list(scope=scope)]
    hits = [hit.id for hit in memory.search("Where is Porto?")]
    connection = attacker(memory)
    connection.execute(statement)
    assert memory.verify().findings
    report = memory.verify(repair=True)
    assert [finding for finding in report.findings if not finding.is_repaired] == []
    assert memory.verify().findings == ()
    assert [cube for scope in scopes(memory) for cube in memory.list(scope=scope)] == before
    assert [hit.id for hit in memory.search("Where is Porto?")] == hits
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET text = 'altered' WHERE text IS NOT NULL",
        "UPDATE versions SET header = 'x'",
        "UPDATE versions SET salt = x'00'",
        "DELETE FROM versions WHERE version = 1",
        "DELETE FROM versions",
        "UPDATE versions SET text = CAST(x'fffe' AS TEXT) WHERE text IS NOT NULL",
    ],
)
def test_damaged_versions_come_back_from_a_backup(memory: MemoryOS, tmp_path: Path, statement: str) -> None:
    before = [cube for scope in scopes(memory) for cube in memory.list(scope=scope)]
    memory.backup(tmp_path / "backup")
    connection = attacker(memory)
    connection.execute(statement)
    assert not memory.verify(repair=True).is_sound, "without a backup it stays reported"
    report = memory.verify(repair_from=tmp_path / "backup")
    assert [finding for finding in report.findings if not finding.is_repaired] == []
    assert memory.verify().findings == ()
    assert [cube for scope in scopes(memory) for cube in memory.list(scope=scope)] == before
    connection.close()


def test_a_backup_that_was_altered_too_is_not_taken(memory: MemoryOS, tmp_path: Path) -> None:
    memory.backup(tmp_path / "backup")
    for path in (memory._parts.vault.path, tmp_path / "backup" / "vault.db"):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("UPDATE versions SET text = 'altered' WHERE text IS NOT NULL")
        connection.close()
    assert not memory.verify(repair_from=tmp_path / "backup").is_sound


def test_a_folder_without_a_backup_is_refused(memory: MemoryOS, tmp_path: Path) -> None:
    connection = attacker(memory)
    connection.execute("DELETE FROM vectors")
    connection.close()
    with pytest.raises(EngramosError, match="holds no"):
        memory.verify(repair_from=tmp_path)


def test_a_missing_blob_comes_back_from_a_backup(memory: MemoryOS, tmp_path: Path) -> None:
    memory.backup(tmp_path / "backup")
    blobs = memory._parts.vault.blobs
    with blobs.open("acme", blobs.digests("acme")[0]) as file:
        Path(file.name).unlink()
    assert [finding.problem for finding in memory.verify().findings] == ["it is missing"]
    assert memory.verify(repair_from=tmp_path / "backup").is_sound


def test_a_blob_that_no_version_uses_is_reported_after_an_hour_and_repaired(memory: MemoryOS) -> None:
    import os

    blobs = memory._parts.vault.blobs
    digest, _ = blobs.put("acme", b"nobody asked for this")
    assert memory.verify().is_sound
    with blobs.open("acme", digest) as file:
        os.utime(file.name, (1, 1))
    assert [finding.problem for finding in memory.verify().findings] == ["no version uses it"]
    assert memory.verify(repair=True).is_sound
    assert digest not in blobs.digests("acme")


def test_a_dead_job_is_reported(memory: MemoryOS) -> None:
    connection = attacker(memory)
    connection.execute("INSERT INTO jobs VALUES (NULL, 'local', 'x', '{}', 'dead', 0, 8, 1, 'no such queue')")
    assert [(finding.what, "gave up" in finding.problem) for finding in memory.verify().findings] == [("job", True)]
    connection.close()


def test_a_journal_is_never_repaired(memory: MemoryOS, tmp_path: Path) -> None:
    memory.backup(tmp_path / "backup")
    connection = attacker(memory)
    connection.execute("UPDATE journal SET reason = 'another' WHERE tenant = 'local' AND seq = 2")
    report = memory.verify(repair_from=tmp_path / "backup")
    assert [finding.which for finding in report.findings if not finding.is_repaired] == ["row 2 of local"]
    connection.close()


def test_verify_reads_one_state_while_others_write(memory: MemoryOS) -> None:
    import threading

    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            cube_id = memory.add("Something new to write down.").cube_ids[0]
            memory.update(cube_id, text="And changed at once.", expected_version=1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [memory.verify().findings for _ in range(10)] == [()] * 10
    finally:
        stop.set()
        writer.join()


def test_a_dump_refuses_a_damaged_memory(memory: MemoryOS, tmp_path: Path) -> None:
    connection = attacker(memory)
    connection.execute("UPDATE versions SET text = 'altered' WHERE tenant = 'local'")
    with pytest.raises(EngramosError, match="damaged"):
        memory.dump(tmp_path / "a.engramos")
    assert not (tmp_path / "a.engramos").exists()
    connection.close()
    with pytest.raises(EngramosError):
        ArchiveReader(tmp_path / "a.engramos")
