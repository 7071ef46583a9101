"""Checks of the journal, and of what stands on it: tombstones and idempotency keys."""

import json
from collections.abc import Iterator
from typing import Any

from engramos.rows import Finding
from engramos.vault.sqlite.apply import GENESIS, chain
from engramos.vault.sqlite.audit import UNREADABLE, Audit
from engramos.vault.sqlite.records import tombstone_seal

_FIELDS = (
    *("tenant", "seq", "user", "at_us", "kind", "cube_id", "version", "actor", "request_id", "reason"),
    *("seal", "hash"),
)


def check_journal(audit: Audit) -> Iterator[Finding]:
    """Yield what is wrong with the chain, the first bad row by name, and with what ties it to the versions."""
    first_bad, last, ends = _follow(audit)
    if first_bad is not None:
        yield first_bad
    else:
        yield from _check_heads(audit, last, ends)
    for seq, cube_id, version, _ in audit.rows("journal_without_version"):
        problem = f"version {version} of cube {cube_id!r}, which it speaks of, is not here"
        yield Finding("version", f"{cube_id} version {version} of {audit.tenant}", f"journal row {seq}: {problem}")
    for seq, cube_id in audit.rows("journal_without_tombstone"):
        yield Finding("tombstone", f"{cube_id} of {audit.tenant}", f"journal row {seq} has no tombstone")


def _follow(audit: Audit) -> tuple[Finding | None, int, dict[Any, int]]:
    """Return the first bad row, the last row, and by user the last row of the user's last commit."""
    expected, previous = 1, GENESIS
    request, group, ends = None, set(), {}
    for values in audit.rows("verify_journal"):
        row = dict(zip(_FIELDS, values, strict=True))
        audit.counts["journal"] += 1
        if row["seq"] != expected:
            return _bad(audit, expected, "it is missing"), expected, ends
        if not _continues(previous, row):
            return _bad(audit, expected, "it was altered, or does not follow the row before it"), expected, ends
        if row["request_id"] != request:
            ends.update(dict.fromkeys(group, expected - 1))
            request, group = row["request_id"], set()
        group.add(row["user"])
        previous, expected = row["hash"], expected + 1
    ends.update(dict.fromkeys(group, expected - 1))
    return None, expected - 1, ends


def _continues(previous: bytes, row: dict[str, Any]) -> bool:
    try:
        return chain(previous, row) == row["hash"]
    except UNREADABLE:
        return False


def _bad(audit: Audit, seq: int, problem: str) -> Finding:
    return Finding("journal", f"row {seq} of {audit.tenant}", f"{problem}; the chain is sound up to row {seq - 1}")


def _check_heads(audit: Audit, last: int, ends: dict[Any, int]) -> Iterator[Finding]:
    heads = dict(audit.rows("verify_heads"))
    audit.counts["heads"] += len(heads)
    if any(isinstance(seq, int) and seq > last for seq in heads.values()):
        yield _bad(audit, last + 1, "it is missing, as a user's last place says")
        return
    for user in sorted(heads.keys() | ends.keys(), key=str):
        if heads.get(user) != ends.get(user):
            first = min(seq for seq in (heads.get(user, 0), ends.get(user, 0)) if isinstance(seq, int))
            problem = f"user {user!r} stands at {heads.get(user)} and the journal has {ends.get(user)}"
            yield _bad(audit, first + 1, problem)


def check_tombstones(audit: Audit) -> Iterator[Finding]:
    """Yield tombstones that are not as the journal wrote them, or that stand for a cube which is there."""
    for cube_id, user, erased_us, num_versions, _, *journal in audit.rows("verify_tombstones"):
        audit.counts["tombstones"] += 1
        kind, j_cube_id, j_version, j_user, at_us, seal = journal
        is_same = (j_cube_id, j_version, j_user) == (cube_id, num_versions, user)
        if kind == "erase":
            is_same = is_same and at_us == erased_us
        else:
            is_same = is_same and kind == "bury" and seal == tombstone_seal(cube_id, erased_us, num_versions)
        if not is_same:
            yield Finding("tombstone", f"{cube_id} of {audit.tenant}", "it is not as its journal row says")
    for (cube_id,) in audit.rows("tombstones_of_living"):
        yield Finding("tombstone", f"{cube_id} of {audit.tenant}", "versions of the erased cube are here")


def check_idempotency(audit: Audit) -> Iterator[Finding]:
    """Yield idempotency keys whose receipt is not what the journal says."""
    for user, _, at_us, salt, digest, receipt in audit.rows("verify_idempotency"):
        audit.counts["idempotency"] += 1
        is_whole = isinstance(salt, bytes) and isinstance(digest, bytes) and (len(salt), len(digest)) == (16, 32)
        if not is_whole or not _agrees(audit, user, at_us, receipt):
            yield Finding("idempotency", f"a key of {user!r} of {audit.tenant}", "its receipt is not the journal's")


def _agrees(audit: Audit, user: Any, at_us: Any, receipt: Any) -> bool:
    try:
        for kind, cube_id, version, seq in json.loads(receipt):
            row = audit.one("journal_row", seq=seq)
            if row is None or (kind, cube_id, version, at_us) != (row[0], row[1], row[2], row[4]):
                return False
            if kind == "create" and row[3] != user:
                return False
    except UNREADABLE:
        return False
    return True
