"""P20: whatever is altered, taken out, moved or put into the journal shows, and the first bad row is named.

The chain has no key: who rewrites it whole, and the versions' seals and the users' places with it, is found only by
somebody who kept the last hash elsewhere. These tests tamper without making later hashes anew.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engramos.memory import MemoryOS
from engramos.scope import Scope

NUM_TRIALS = 1_000
COLUMNS = "tenant, seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash"
NAMES = COLUMNS.split(", ")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryOS]:
    with MemoryOS.open(tmp_path / "memory", user="ana", embedder="none") as memory:
        for number in range(6):
            ids = memory.add([f"First of {number}.", f"Second of {number}."]).cube_ids
            memory.update(ids[0], text=f"Changed {number}.", expected_version=1)
            memory.add(f"Of another user, {number}.", scope=Scope("local", "bob"))
        memory.forget(ids[1], act="erase")
        yield memory


def altered(rows: list[list], chance: random.Random) -> int:
    at = chance.randrange(len(rows))
    column = chance.choice([index for index, name in enumerate(NAMES) if name not in ("tenant", "seq")])
    value = rows[at][column]
    if isinstance(value, bytes):
        place = chance.randrange(len(value) or 1)
        rows[at][column] = value[:place] + bytes([chance.randrange(256)]) + value[place + 1 :] if value else b"\1"
        if rows[at][column] == value:
            rows[at][column] = value + b"\0"
    else:
        rows[at][column] = value + 1 if isinstance(value, int) else f"{value}x"
    return at + 1


def deleted(rows: list[list], chance: random.Random) -> int:
    at = chance.randrange(len(rows))
    del rows[at]
    return at + 1


def cut(rows: list[list], chance: random.Random) -> int:
    at = chance.randrange(len(rows))
    del rows[at:]
    return at + 1


def closed_up(rows: list[list], chance: random.Random) -> int:
    """Take a row out and number the later ones anew."""
    at = chance.randrange(len(rows))
    del rows[at]
    for row in rows[at:]:
        row[1] -= 1
    return at + 1


def reordered(rows: list[list], chance: random.Random) -> int:
    first, second = sorted(chance.sample(range(len(rows)), 2))
    rows[first], rows[second] = rows[second], rows[first]
    rows[first][1], rows[second][1] = first + 1, second + 1
    return first + 1


def inserted(rows: list[list], chance: random.Random) -> int:
    """Put a copy of some row in, and number the later ones anew."""
    at = chance.randrange(len(rows) + 1)
    new = list(chance.choice(rows))
    new[1] = at + 1
    for row in rows[at:]:
        row[1] += 1
    rows.insert(at, new)
    if at and rows[at][2:] == rows[at - 1][2:]:
        return at + 1
    # a copy of the row that stood here is that row; what follows it is the copy
    return at + 2 if at + 1 < len(rows) and rows[at][2:] == rows[at + 1][2:] else at + 1


TAMPERINGS = (altered, deleted, cut, closed_up, reordered, inserted)


def write(connection: sqlite3.Connection, rows: list[list]) -> None:
    connection.execute("BEGIN")
    connection.execute("DELETE FROM journal")
    connection.executemany(f"INSERT INTO journal ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})", rows)
    connection.execute("COMMIT")


def test_every_tampering_is_found_and_the_first_bad_row_named(memory: MemoryOS) -> None:
    chance = random.Random(10)
    connection = sqlite3.connect(memory._parts.vault.path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    sound = [list(row) for row in connection.execute(f"SELECT {COLUMNS} FROM journal ORDER BY seq")]
    tried, found = Counter(), Counter()
    for _ in range(NUM_TRIALS):
        tampering = chance.choice(TAMPERINGS)
        rows = [list(row) for row in sound]
        first_bad = tampering(rows, chance)
        write(connection, rows)
        tried[tampering.__name__] += 1
        findings = [finding.which for finding in memory.verify().findings if finding.what == "journal"]
        found[tampering.__name__] += findings == [f"row {first_bad} of local"]
    print(f"\ntamperings named by their first bad row: {found.total()} of {tried.total()}; {dict(tried)}")
    assert found == tried
    write(connection, sound)
    assert memory.verify().findings == ()
    connection.close()


def test_a_row_added_at_the_end_with_a_right_hash_is_found(memory: MemoryOS) -> None:
    from engramos.vault.sqlite.apply import chain

    connection = sqlite3.connect(memory._parts.vault.path, isolation_level=None)
    last = next(connection.execute(f"SELECT {COLUMNS} FROM journal ORDER BY seq DESC LIMIT 1"))
    row = dict(zip(NAMES, last, strict=True)) | {"seq": last[1] + 1, "request_id": "forged"}
    row["hash"] = chain(last[-1], row)
    connection.execute(f"INSERT INTO journal ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})", list(row.values()))
    findings = memory.verify().findings
    assert f"row {last[1] + 1} of local" in [finding.which for finding in findings if finding.what == "journal"]
    connection.close()


def test_a_journal_cut_with_the_users_places_is_found_by_its_versions(memory: MemoryOS) -> None:
    connection = sqlite3.connect(memory._parts.vault.path, isolation_level=None)
    connection.execute("DELETE FROM journal WHERE seq > 4")
    connection.execute("DELETE FROM scope_heads WHERE user = 'bob'")
    connection.execute("UPDATE scope_heads SET seq = 3 WHERE user = 'ana'")
    findings = memory.verify().findings
    assert any(finding.what == "version" and "no journal row" in finding.problem for finding in findings)
    connection.close()


def test_every_change_has_exactly_one_row_that_says_who_what_when_and_why(memory: MemoryOS) -> None:
    num_before = len(memory._parts.vault.journal("local"))
    receipt = memory.add(["One.", "Two."])
    rows = memory._parts.vault.journal("local")[num_before:]
    assert [(row.kind, row.cube_id, row.seq) for row in rows] == [
        (one.kind, one.cube_id, one.seq) for one in receipt.applied
    ]
    assert all(row.actor and row.request_id and row.reason and row.seal and row.at for row in rows)
