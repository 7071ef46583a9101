"""Is a memory's folder whole? Read with plain SQL, so that a fault in the verbs cannot hide one in the files."""

import hashlib
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from engramos.vault.sqlite.apply import GENESIS, chain
from engramos.vault.sqlite.records import digest_of, seal_of

PART = re.compile(r"^\w+?p\d+of(\d+)\b")
"""How the worker marks a text: its request, its place, and how many texts the request holds."""
SECOND_US = 1_000_000
JOURNAL = "tenant, seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash"


def problems(folder: Path) -> list[str]:
    """Return what is not whole in a folder that nobody has open: one line a problem."""
    with closing(sqlite3.connect(folder / "vault.db", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        found = [f"integrity: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        if found:
            return found
        connection.execute("INSERT INTO text_index (text_index) VALUES ('integrity-check')")
        journal = _rows(connection, f"SELECT {JOURNAL} FROM journal ORDER BY tenant, seq")
        found += [*_chain(journal), *_versions(connection, journal), *_cubes(connection), *_jobs(connection)]
        found += [*_requests(connection, journal), *_heads(connection)]
        connection.execute("ROLLBACK")
    return found


def journal_of(folder: Path) -> list[tuple[int, bytes]]:
    """Return place and hash of each journal row; the hashes are chained, so that equal hashes are equal histories."""
    with closing(sqlite3.connect(folder / "vault.db")) as connection:
        return list(connection.execute("SELECT seq, hash FROM journal ORDER BY tenant, seq"))


def _rows(connection, query):
    return [dict(row) for row in connection.execute(query)]


def _chain(journal):
    last = {}
    for row in journal:
        seq, digest = last.get(row["tenant"], (0, GENESIS))
        if row["seq"] != seq + 1:
            yield f"journal: {row['seq']} follows {seq}"
        if chain(digest, row) != row["hash"]:
            yield f"journal: the chain breaks at {row['seq']}"
        last[row["tenant"]] = row["seq"], row["hash"]


def _versions(connection, journal):
    """Every journal row has the version that it seals, or a tombstone, and the other way round."""
    erased = {row["cube_id"] for row in _rows(connection, "SELECT cube_id FROM tombstones")}
    versions = {(row["cube_id"], row["version"]): row for row in _rows(connection, "SELECT * FROM versions")}
    sealed = {(row["cube_id"], row["version"]): row for row in journal if row["kind"] not in ("erase", "reindex")}
    for key, row in sealed.items():
        version = versions.get(key)
        if (version is None) != (key[0] in erased):
            yield f"version {key} is {'missing' if version is None else 'there though it was erased'}"
        elif version is not None and (
            version["digest"] != digest_of(version["header"], version["payload"], version["text"])
            or row["seal"] != seal_of(version["salt"], version["digest"])
            or row["seq"] != version["seq"]
        ):
            yield f"version {key} is not what the journal sealed"
    yield from (f"version {key} has no journal row" for key in versions.keys() - sealed.keys())
    ends = {row["cube_id"] for row in journal if row["kind"] == "erase"}
    if ends != erased:
        yield f"tombstones without an erase, or the other way round: {ends ^ erased}"


def _cubes(connection):
    """Cubes, newest versions, full-text index and vectors name the same cubes."""
    cubes = _rows(connection, "SELECT cube_key, cube_id, version, form, state, terms FROM cubes")
    newest = dict(connection.execute("SELECT cube_id, max(version) FROM versions GROUP BY cube_id").fetchall())
    if (listed := {row["cube_id"]: row["version"] for row in cubes}) != newest:
        yield f"cubes and versions differ: {listed.items() ^ newest.items()}"
    found = [row for row in cubes if row["form"] == "plaintext" and row["state"] in ("activated", "frozen")]
    searched = {row["cube_key"] for row in found}
    if (termed := {row["cube_key"] for row in cubes if row["terms"] is not None}) != searched:
        yield f"cubes with and without terms: {termed ^ searched}"
    connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'text_index', 'instance')")
    if (indexed := {row[0] for row in connection.execute("SELECT DISTINCT doc FROM temp.words")}) != searched:
        yield f"the full-text index differs at keys {indexed ^ searched}"
    vectors = {row[0] for row in connection.execute("SELECT cube_key FROM vectors")}
    if connection.execute("SELECT count(*) FROM embedders").fetchone()[0] and vectors != searched:
        yield f"the vectors differ at keys {vectors ^ searched}"


def _jobs(connection):
    """Every cube whose retention ends has its sweep, queued in the same commit; no sweep is without its cube."""
    ends = {row[0] for row in connection.execute("SELECT expires_us FROM cubes WHERE expires_us IS NOT NULL")}
    sweeps = Counter(row[0] for row in connection.execute("SELECT run_at_us FROM jobs WHERE queue = 'sweep'"))
    # a sweep runs at the whole second after the end
    wanted = {-(-end // SECOND_US) * SECOND_US for end in ends}
    yield from (f"the sweep at {end} is missing" for end in wanted - sweeps.keys())
    yield from (f"the sweep at {end} has no cube" for end in sweeps.keys() - wanted)
    yield from (f"the sweep at {end} was queued {num} times" for end, num in sweeps.items() if num > 1)


def _requests(connection, journal):
    """A request is there with all its texts, or not at all."""
    made = Counter(row["request_id"] for row in journal if row["kind"] == "create")
    request_of = {row["cube_id"]: row["request_id"] for row in journal if row["kind"] == "create"}
    for cube_id, text in connection.execute("SELECT cube_id, text FROM versions WHERE version = 1").fetchall():
        if (mark := PART.match(text or "")) and made[request_of.get(cube_id)] != int(mark[1]):
            yield f"request of {text[:40]!r} is there with {made[request_of.get(cube_id)]} of {mark[1]} texts"


def _heads(connection):
    last = dict(connection.execute("SELECT user, max(seq) FROM journal GROUP BY tenant, user").fetchall())
    heads = dict(connection.execute("SELECT user, seq FROM scope_heads").fetchall())
    if last != heads:
        yield f"scope heads and journal differ: {heads} and {last}"


def digest(text: str) -> str:
    """Return the SHA-256 by which both sides of the pipe name a text."""
    return hashlib.sha256(text.encode()).hexdigest()
