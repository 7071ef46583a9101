"""forget: three different acts.

`supersede` says that something is no longer true; `expire` hides it, to be restored; `erase` removes it, with all
versions, index rows, vectors, blobs and whatever was derived from it, and leaves a receipt.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from engramos.changes import Change, Erase, Expire, Receipt, Supersede
from engramos.clock import now
from engramos.cube import Edge, MemCube, Relation, State
from engramos.errors import CubeNotFoundError, InvalidInputError, VersionConflictError
from engramos.lifecycle import move, revise
from engramos.messages import check_time
from engramos.plaintext.terms import terms
from engramos.rows import Filter
from engramos.scheduler.worker import run_due, scrub_now
from engramos.scope import Scope, check_name
from engramos.verbs.parts import Parts

ACTS = ("supersede", "expire", "erase")
ALL_STATES = tuple(state.value for state in State)


@dataclass(frozen=True, slots=True)
class Which:
    """What is to be forgotten: exactly one of the three.

    Raises:
        InvalidInputError: if none, or more than one, is given.
    """

    cube_ids: tuple[str, ...] = ()
    where: Filter | None = None
    subject: str | None = None
    """Every cube that the subject said, that is labelled with it, or that names it."""

    def __post_init__(self) -> None:
        given = [bool(self.cube_ids), self.where is not None, self.subject is not None]
        if sum(given) != 1:
            raise InvalidInputError("say what to forget: cube ids, or a filter, or a subject, and only one of them")
        if self.where is not None and not isinstance(self.where, Filter):
            raise InvalidInputError(f"where is {self.where!r}: give a Filter")
        if self.subject is not None:
            check_name("subject", self.subject)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten."""

    act: str
    cube_ids: tuple[str, ...]
    """The cubes, those derived from them included."""
    receipt: Receipt
    is_scrubbed: bool = False
    """For an erasure: whether the files hold no trace any more; where False, a job goes on trying."""
    blobs: tuple[str, ...] = ()
    """Digests of blobs that were removed."""
    backups: tuple[str, ...] = ()
    """Backups made before an erasure, which still hold what was erased: delete them too."""


def forget(
    parts: Parts,
    which: Which,
    act: str,
    scope: Scope,
    *,
    expected_version: int | None = None,
    by: str | None = None,
    at: datetime | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> Forgotten:
    """Forget cubes, all of them or none, and return what was done.

    Args:
        parts: of the open memory.
        which: which cubes.
        act: `supersede`, `expire` or `erase`.
        scope: whose.
        expected_version: for one cube: the version that the caller read.
        by: for `supersede`: the cube that holds what is true now.
        at: for `supersede`: since when it is no longer true; now where None.
        reason: why, for the journal; it outlives an erasure, so it must not repeat content.
        dry_run: say what would be forgotten, and forget nothing.

    Raises:
        InvalidInputError: if the act is none of the three, or an argument does not fit.
        CubeNotFoundError: if a cube is not there.
        AccessDeniedError: if one may not be written, or is under legal hold.
        VersionConflictError: if it moved on.
        FrozenError, IllegalTransitionError: if its state forbids it; an erasure asks no state.
    """
    if act not in ACTS:
        raise InvalidInputError(f"act is {act!r}: use supersede, expire or erase")
    if reason:
        check_name("reason", reason)
    if act == "erase":
        # what its retention has ended for is shown to nobody, but may still lie in the files
        run_due(parts)
    cubes = _chosen(parts, which, scope, act)
    if expected_version is not None and (len(cubes) != 1 or cubes[0].version != expected_version):
        found = cubes[0].version if len(cubes) == 1 else 0
        raise VersionConflictError(which.cube_ids[0] if which.cube_ids else "several", expected_version, found)
    changes = _changes(parts, cubes, act, scope, by, at)
    receipt = parts.commit(changes, scope, reason=reason or f"forget: {act}", dry_run=dry_run)
    ids = tuple(dict.fromkeys(one.cube_id for one in receipt.applied))
    if act != "erase" or dry_run or not changes:
        return Forgotten(act, ids, receipt)
    scrubbed = scrub_now(parts, scope.tenant)
    with parts.lock:
        # an index in memory still holds the words and vectors of what was erased
        parts.indexes.pop((scope.tenant, scope.user), None)
    backups = tuple(path for path, _ in parts.vault.backups())
    return Forgotten(act, ids, receipt, scrubbed.is_complete, scrubbed.blobs, backups)


def _chosen(parts: Parts, which: Which, scope: Scope, act: str) -> list[MemCube]:
    if which.cube_ids:
        return [parts.read(scope, cube_id, "write") for cube_id in dict.fromkeys(which.cube_ids)]
    if which.where is not None:
        states = which.where.states or (ALL_STATES if act == "erase" else ("generated", "activated", "archived"))
        values = {name: getattr(which.where, name) for name in Filter.__dataclass_fields__}
        return list(parts.vault.select(scope, Filter(**values | {"states": states}), limit=-1))
    states = ALL_STATES if act == "erase" else ("generated", "activated", "archived")
    cubes = parts.vault.select(scope, Filter(states=states), limit=-1)
    return [cube for cube in cubes if _is_about(parts, cube, which.subject or "", act)]


def _is_about(parts: Parts, cube: MemCube, subject: str, act: str) -> bool:
    """Return whether a cube, or for an erasure any of its versions, is about a subject."""
    versions = parts.vault.history(cube.header.scope.tenant, cube.id) if act == "erase" and cube.version > 1 else [cube]
    return any(_names(version, subject) for version in versions)


def _names(cube: MemCube, subject: str) -> bool:
    wanted = subject.casefold()
    if (getattr(cube.payload, "speaker", None) or "").casefold() == wanted:
        return True
    if subject in cube.header.labels or f"subject:{subject}" in cube.header.labels:
        return True
    text = f"{getattr(cube.payload, 'title', None) or ''}\n{cube.text}"
    asked = terms(subject).keys()
    return _stands_in(wanted, text.casefold()) or (len(asked) > 1 and asked <= terms(text).keys())


def _stands_in(name: str, text: str) -> bool:
    """Return whether a name stands in a text as words of their own, so that Ana is not found in banana.

    Scripts without capitals, such as Chinese, Thai and Arabic, join words, so there any place counts.
    """
    before = r"(?<!\w)" if _is_cased(name[0]) else ""
    after = r"(?!\w)" if _is_cased(name[-1]) else ""
    return re.search(f"{before}{re.escape(name)}{after}", text) is not None


def _is_cased(letter: str) -> bool:
    return letter.isdecimal() or letter.lower() != letter.upper()


def _changes(
    parts: Parts, cubes: Sequence[MemCube], act: str, scope: Scope, by: str | None, at: datetime | None
) -> list[Change]:
    if act == "erase":
        return [Erase(cube.id, cube.version) for cube in _with_derived(parts, cubes)]
    if act == "expire":
        return [Expire(move(cube, State.EXPIRED, now(), actor=scope.user, method="forget")) for cube in cubes]
    ends_at = now() if at is None else check_time("at", at)
    changes: list[Change] = [
        Supersede(revise(cube, now(), actor=scope.user, method="forget", invalid_at=ends_at)) for cube in cubes
    ]
    if by is not None:
        newer = parts.read(scope, by, "write")
        edges = tuple(Edge(Relation.SUPERSEDES, cube.id, cube.version + 1) for cube in cubes)
        parents = newer.header.parents + edges
        changes.append(Supersede(revise(newer, now(), actor=scope.user, method="forget", parents=parents)))
    return changes


def _with_derived(parts: Parts, cubes: Sequence[MemCube]) -> Iterable[MemCube]:
    """Yield cubes and all that derives from them; a cube that only superseded one of them stays."""
    waiting, seen = list(cubes), set()
    while waiting:
        cube = waiting.pop()
        if cube.id in seen:
            continue
        seen.add(cube.id)
        yield cube
        tenant = cube.header.scope.tenant
        for child_id, _, edge in parts.vault.children(tenant, cube.id):
            if edge.relation is Relation.SUPERSEDES:
                continue
            child = parts.vault.get(tenant, child_id)
            if child is None:
                raise CubeNotFoundError(child_id)
            waiting.append(child)
