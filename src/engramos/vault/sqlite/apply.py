"""Applying the changes of a commit, inside the writer's transaction."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from engramos.changes import Applied, Change, Erase, IndexEntry, JobSpec, Receipt, Reindex, Request, Write
from engramos.clock import now_us
from engramos.cube import encode
from engramos.errors import (
    AccessDeniedError,
    CubeNotFoundError,
    EmbedderMismatchError,
    IdempotencyConflictError,
    VersionConflictError,
)
from engramos.scope import Scope
from engramos.vault.sqlite import records
from engramos.vault.sqlite.sql import sql

GENESIS = b"\0" * 32


@dataclass(slots=True)
class Commit:
    """One request while it is applied."""

    connection: Any
    scope: Scope
    request: Request
    jobs: Sequence[JobSpec] = ()
    memo: dict[Any, Any] = field(default_factory=dict)
    """What earlier commits of this connection know to be so still; see `writer.Writer.memo`."""
    at_us: int = field(default_factory=now_us)
    seq: int = 0
    hash: bytes = GENESIS
    users: set[str] = field(default_factory=set)
    journal: list[dict[str, Any]] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    blobs: set[str] = field(default_factory=set)
    """Blobs that an erased version referred to."""

    def execute(self, name: str, **values: Any) -> Any:
        """Run a named statement with the tenant bound."""
        return self.connection.execute(sql(name), values | {"tenant": self.scope.tenant})

    def owner(self, user: str) -> str:
        """Return the token that stands for a user of this tenant in the full-text index."""
        return records.owner_token(self.scope.tenant, user)

    def remembered(self, key: Any, read: Callable[[], Any]) -> Any:
        """Return what the memo has under `key`, or else read and keep it."""
        if key not in self.memo:
            self.memo[key] = read()
        return self.memo[key]

    def many(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Run a named statement for each row."""
        if rows:
            self.connection.executemany(sql(name), rows)

    def one(self, name: str, **values: Any) -> Any:
        """Return the first row of a named statement, or None."""
        return next(iter(self.execute(name, **values)), None)


def apply(commit: Commit, changes: Sequence[Change]) -> Receipt:
    """Apply `changes` in order and return the receipt; any error leaves nothing behind.

    Raises:
        VersionConflictError: if a cube moved on since it was read.
        CubeNotFoundError: if a cube to change is not there.
        AccessDeniedError: for a cube of another tenant, or one under legal hold.
        EmbedderMismatchError: if a vector was made by another embedder.
        IdempotencyConflictError: if the key was used for another request.
    """
    if (known := replay(commit)) is not None:
        return known
    head = commit.remembered(("head", commit.scope.tenant), lambda: commit.one("journal_head"))
    if head is not None:
        commit.seq, commit.hash = head
    for kind, run in groupby(changes, key=_run_kind):
        if kind == "create":
            _create(commit, list(run))
            continue
        for change in run:
            if isinstance(change, Write):
                _write(commit, change)
            elif isinstance(change, Erase):
                _erase(commit, change)
            else:
                _reindex(commit, change)
    _finish(commit)
    details = {"blobs": sorted(commit.blobs)} if commit.blobs else {}
    return Receipt(tuple(commit.applied), details=details)


def _run_kind(change: Change) -> str:
    return "create" if isinstance(change, Write) and change.cube.version == 1 else change.KIND


def _finish(commit: Commit) -> None:
    """Write the journal rows, the places that readers compare, the jobs, and the idempotency key."""
    commit.many("write_journal", commit.journal)
    commit.memo["head", commit.scope.tenant] = (commit.seq, commit.hash) if commit.seq else None
    for user in commit.users:
        commit.execute("set_scope_head", user=user, seq=commit.seq)
    for job in commit.jobs:
        # a scrub that comes after a crash must know which blobs were meant
        added = {"blobs": sorted(commit.blobs)} if job.queue == "scrub" else {}
        parameters = json.dumps(dict(job.parameters) | added, sort_keys=True)
        commit.execute("queue_job", queue=job.queue, parameters=parameters, run_at_us=job.run_at_us or commit.at_us)
    _remember(commit)


def replay(commit: Commit) -> Receipt | None:
    """Return the receipt of an earlier commit under the same idempotency key, or None.

    Raises:
        IdempotencyConflictError: if the key was used for another request.
    """
    key = commit.request.idempotency_key
    if key is None:
        return None
    row = commit.one("find_idempotency", user=commit.scope.user, key=key)
    if row is None:
        return None
    salt, digest, receipt = row
    if digest != _keyed(salt, commit.request.body_digest):
        raise IdempotencyConflictError(key)
    return Receipt(tuple(Applied(*one) for one in json.loads(receipt)), is_replay=True)


def _remember(commit: Commit) -> None:
    if commit.request.idempotency_key is None:
        return
    salt = os.urandom(16)
    commit.execute(
        "keep_idempotency",
        user=commit.scope.user,
        key=commit.request.idempotency_key,
        at_us=commit.at_us,
        salt=salt,
        digest=_keyed(salt, commit.request.body_digest),
        receipt=json.dumps([[one.kind, one.cube_id, one.version, one.seq] for one in commit.applied]),
    )


def _keyed(salt: bytes, digest: str) -> bytes:
    return hashlib.sha256(salt + digest.encode()).digest()


def _create(commit: Commit, run: Sequence[Write]) -> None:
    """Write new cubes, a table at a time."""
    last = commit.remembered("last_cube_key", lambda: (commit.one("last_cube_key") or [0])[0])
    rows, versions, vectors, texts = [], [], [], []
    for key, change in enumerate(run, start=last + 1):
        cube, entry = change.cube, change.entry
        _refuse_foreign(commit, change)
        is_searched = records.is_searched(cube)
        row = records.cube_row(cube, key, entry.terms if is_searched and entry else None)
        rows.append(row)
        version = records.version_row(cube, key)
        version["seq"] = _journal(commit, change.KIND, row["user"], version)
        versions.append(version)
        if is_searched:
            texts.append({"cube_key": key, "text": cube.text, "owner": commit.owner(row["user"])})
        if is_searched and entry is not None and entry.vector is not None:
            embedder_key = _embedder_key(commit, entry, is_current=True)
            vectors.append(records.vector_row(key, row["tenant"], embedder_key, entry))
    _refuse_known(commit, [row["cube_id"] for row in rows])
    commit.memo["last_cube_key"] = last + len(rows)
    for name, batch in (
        ("create_cube", rows),
        ("write_version", versions),
        ("put_vector", vectors),
        ("put_text", texts),
    ):
        commit.many(name, batch)
    for change in run:
        _add_edges(commit, change)


def _refuse_foreign(commit: Commit, change: Write) -> None:
    if change.cube.header.scope.tenant != commit.scope.tenant:
        raise AccessDeniedError("write", f"cube {change.cube.id!r} of another tenant")


def _refuse_known(commit: Commit, cube_ids: list[str]) -> None:
    """Refuse ids that exist, and ids that were erased: an old archive must not bring them back."""
    if len(set(cube_ids)) < len(cube_ids):
        raise VersionConflictError(next(one for one in cube_ids if cube_ids.count(one) > 1), 0, 1)
    if len(cube_ids) == 1:
        known = commit.one("is_known", cube_id=cube_ids[0])
    else:
        known = commit.one("known_ids", cube_ids=json.dumps(cube_ids))
    if known is not None:
        raise VersionConflictError(known[0], 0, 1)
    tenant = commit.scope.tenant
    if commit.remembered(("tombstones", tenant), lambda: commit.one("has_tombstones")) is None:
        return
    erased = commit.one("erased_ids", cube_ids=json.dumps(cube_ids))
    if erased is not None:
        raise AccessDeniedError("create", f"cube {erased[0]!r}, which was erased")


def _add_edges(commit: Commit, change: Write) -> None:
    for edge in change.cube.header.parents:
        commit.execute(
            "add_edge",
            parent_id=edge.cube_id,
            parent_version=edge.version,
            child_id=change.cube.id,
            child_version=change.cube.version,
            relation=edge.relation.value,
        )


def _write(commit: Commit, change: Write) -> None:
    """Write a further version of a cube."""
    cube = change.cube
    _refuse_foreign(commit, change)
    head = commit.one("head", cube_id=cube.id)
    if head is None:
        raise CubeNotFoundError(cube.id)
    cube_key, found, _, state, _, old_terms = head
    if found != cube.version - 1:
        raise VersionConflictError(cube.id, cube.version - 1, found)
    old_text: str | None = None
    if state in records.SEARCHED_STATES:
        old_text = commit.one("read_version", cube_id=cube.id, version=found)[2]
    terms = None
    if records.is_searched(cube):
        terms = change.entry.terms if change.entry else old_terms
    row = records.cube_row(cube, cube_key, terms)
    commit.execute("change_cube", **row)
    version = records.version_row(cube, cube_key)
    version["seq"] = _journal(commit, change.KIND, row["user"], version)
    commit.execute("write_version", **version)
    _add_edges(commit, change)
    _index(commit, change, cube_key, old_text)


def _index(commit: Commit, change: Write, cube_key: int, old_text: str | None) -> None:
    """Bring full-text index and vectors in step with a further version."""
    cube, entry = change.cube, change.entry
    owner = commit.owner(cube.header.scope.user)
    new_text = cube.text if records.is_searched(cube) else None
    if old_text is not None and (old_text != new_text or entry is not None):
        # a vector is also of the speaker and the day; one that a reembed has just made is of the version before
        commit.execute("drop_vectors", cube_key=cube_key)
    if old_text != new_text:
        if old_text is not None:
            commit.execute("drop_text", cube_key=cube_key, text=old_text, owner=owner)
        if new_text is not None:
            commit.execute("put_text", cube_key=cube_key, text=new_text, owner=owner)
    if new_text is not None and entry is not None and entry.vector is not None:
        embedder_key = _embedder_key(commit, entry, is_current=True)
        commit.execute("put_vector", **records.vector_row(cube_key, commit.scope.tenant, embedder_key, entry))


def _embedder_key(commit: Commit, entry: IndexEntry, *, is_current: bool) -> int:
    """Return the key of an entry's embedder; the first one of a vault becomes the current one."""
    known = commit.remembered("embedders", lambda: _embedder_keys(commit))
    if is_current and "" in known and known.get(entry.embedder) != known[""]:
        stored = next(name for name, key in known.items() if name and key == known[""])
        raise EmbedderMismatchError(stored, entry.embedder)
    if entry.embedder not in known:
        is_first = is_current and "" not in known
        known[entry.embedder] = commit.one("add_embedder", fingerprint=entry.embedder, is_current=int(is_first))[0]
    if is_current and "" not in known:
        commit.execute("make_embedder_current", embedder_key=known[entry.embedder])
        known[""] = known[entry.embedder]
    return known[entry.embedder]


def _embedder_keys(commit: Commit) -> dict[str, int]:
    """Return the keys of embedders by fingerprint; the current one's also under the empty text."""
    keys: dict[str, int] = {}
    for key, fingerprint, is_current in commit.execute("embedders"):
        keys[fingerprint] = key
        if is_current:
            keys[""] = key
    return keys


def _erase(commit: Commit, change: Erase) -> None:
    head = commit.one("head", cube_id=change.cube_id)
    if head is None:
        raise CubeNotFoundError(change.cube_id)
    cube_key, version, user, state, is_held, _ = head
    if version != change.seen_version:
        raise VersionConflictError(change.cube_id, change.seen_version, version)
    if is_held:
        raise AccessDeniedError("erase", f"cube {change.cube_id!r} under legal hold")
    rows = list(commit.execute("blobs_of_cube", cube_id=change.cube_id))
    commit.blobs.update(blob for (blob,) in rows)
    if state in records.SEARCHED_STATES:
        text = commit.one("read_version", cube_id=change.cube_id, version=version)[2]
        if text is not None:
            commit.execute("drop_text", cube_key=cube_key, text=text, owner=commit.owner(user))
    for name in ("drop_vectors", "erase_cube"):
        commit.execute(name, cube_key=cube_key)
    for name in ("erase_versions", "erase_edges", "erase_usage"):
        commit.execute(name, cube_id=change.cube_id)
    seq = _journal(commit, change.KIND, user, {"cube_id": change.cube_id, "version": version})
    commit.execute(
        "set_tombstone", cube_id=change.cube_id, user=user, erased_us=commit.at_us, num_versions=version, seq=seq
    )
    for key in ("last_cube_key", ("tombstones", commit.scope.tenant)):
        commit.memo.pop(key, None)


def bury(commit: Commit, tombstones: Sequence[tuple[str, int, int]]) -> None:
    """Store tombstones of cubes that are unknown here: id, time of erasure in microseconds, number of versions."""
    head = commit.remembered(("head", commit.scope.tenant), lambda: commit.one("journal_head"))
    if head is not None:
        commit.seq, commit.hash = head
    for cube_id, erased_us, num_versions in tombstones:
        seal = records.tombstone_seal(cube_id, erased_us, num_versions)
        values = {"cube_id": cube_id, "version": num_versions}
        seq = _journal(commit, "bury", commit.scope.user, values, seal)
        row = {"cube_id": cube_id, "user": commit.scope.user, "erased_us": erased_us, "num_versions": num_versions}
        commit.execute("bury", **row, seq=seq)
    commit.memo.pop(("tombstones", commit.scope.tenant), None)
    _finish(commit)


def _reindex(commit: Commit, change: Reindex) -> None:
    counts: dict[str, int] = {}
    for (cube_id, version), entry in change.entries.items():
        head = commit.one("head", cube_id=cube_id)
        if head is None or head[1] != version or head[3] not in records.SEARCHED_STATES:
            continue
        cube_key, _, user, *_ = head
        commit.execute("set_terms", cube_key=cube_key, terms=entry.terms, checksum=zlib.crc32(entry.terms))
        if entry.vector is not None:
            embedder_key = _embedder_key(commit, entry, is_current=False)
            commit.execute("put_vector", **records.vector_row(cube_key, commit.scope.tenant, embedder_key, entry))
        counts[user] = counts.get(user, 0) + 1
    for user, count in counts.items():
        _journal(commit, change.KIND, user, {"cube_id": "", "version": count})


def _journal(commit: Commit, kind: str, user: str, version: dict[str, Any], seal: bytes = b"") -> int:
    """Note a change for the journal; return its place. The seal is the version's, where it has one."""
    commit.seq += 1
    row = {
        "tenant": commit.scope.tenant,
        "seq": commit.seq,
        "user": user,
        "at_us": commit.at_us,
        "kind": kind,
        "cube_id": version["cube_id"],
        "version": version["version"],
        "actor": commit.request.actor,
        "request_id": commit.request.request_id,
        "reason": commit.request.reason,
        "seal": records.seal_of(version["salt"], version["digest"]) if "salt" in version else seal,
    }
    commit.hash = row["hash"] = chain(commit.hash, row)
    commit.journal.append(row)
    commit.users.add(user)
    commit.applied.append(Applied(kind, row["cube_id"], row["version"], commit.seq))
    return commit.seq


def chain(previous: bytes, row: dict[str, Any]) -> bytes:
    """Return the hash of a journal row and the one before it."""
    fields = [value.hex() if isinstance(value, bytes) else value for name, value in row.items() if name != "hash"]
    return hashlib.sha256(previous + encode(fields).encode()).digest()
