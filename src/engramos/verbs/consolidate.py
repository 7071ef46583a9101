"""consolidate: run reconcilers over a scope; what they did can be undone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from engramos.changes import Change, Receipt, Request, Restore
from engramos.clock import new_id, now
from engramos.cube import MemCube, State
from engramos.errors import InvalidInputError, VersionConflictError
from engramos.lifecycle import revise
from engramos.plaintext.reconcilers import ROLE
from engramos.plaintext.reconcilers.base import Link, Reconciler, Verdict
from engramos.rows import Filter, JournalRow
from engramos.scheduler.triggers import triggered_by
from engramos.scope import Scope
from engramos.verbs.parts import Parts

METHODS = ("slot_conflicts", "near_duplicates")
"""What runs where nothing is named. Conflicts come first: what is said, corrected, and said again is no duplicate."""
MAX_TRIES = 5
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """What one reconciler did."""

    method: str
    request_id: str
    """Undoes this step; empty where nothing was changed."""
    verdicts: tuple[Verdict, ...]
    """Which cube another one supersedes now, and why."""
    links: tuple[Link, ...]
    """Computed, not stored."""


@dataclass(frozen=True, slots=True)
class Consolidated:
    """What a consolidation did, or, with `undo`, what it brought back."""

    steps: tuple[Step, ...] = ()
    restored: tuple[str, ...] = ()
    """Cubes that an undo brought back."""
    left: tuple[str, ...] = ()
    """Cubes that an undo left as they are, because they have changed since or are gone."""
    is_dry_run: bool = False

    @property
    def num_superseded(self) -> int:
        """Number of cubes that others supersede now."""
        return sum(len(step.verdicts) for step in self.steps)


def consolidate(
    parts: Parts, scope: Scope, methods: Sequence[str], *, undo: str | None = None, dry_run: bool = False
) -> Consolidated:
    """Let reconcilers supersede what no longer stands, one commit each, and return what was done and why.

    Nothing is removed: a superseded cube is found with `as_of`, and `restore` brings it back for good.

    Args:
        parts: of the open memory.
        scope: whose cubes; an agent or a session narrows.
        methods: reconcilers by name, or as `{ method = "near_duplicates", similarity = 0.95 }`, in their order.
        undo: a step's request id: bring back what it superseded, in place of running anything.
        dry_run: say what would be done and change nothing.

    Raises:
        InvalidInputError: if the request to undo superseded nothing of this user, or no method is named.
        UnknownMethodError, ConfigError: if a method is not known, or a parameter does not fit.
        VersionConflictError: if cubes keep changing meanwhile.
    """
    if undo is not None:
        return _undone(parts, scope, undo, dry_run=dry_run)
    if isinstance(methods, str) or not methods or not all(isinstance(one, str) for one in methods):
        raise InvalidInputError(f"methods is {methods!r}: give a sequence of {', '.join(ROLE.names())}")
    named = [(ROLE.read(text)[0], ROLE.parse(text)) for text in methods]
    steps = tuple(_step(parts, scope, name, reconciler, dry_run=dry_run) for name, reconciler in named)
    return Consolidated(steps, is_dry_run=dry_run)


def _step(parts: Parts, scope: Scope, name: str, reconciler: Reconciler, *, dry_run: bool) -> Step:
    wanted = Filter(states=(State.ACTIVATED.value,), forms=("plaintext",))
    for left in reversed(range(MAX_TRIES)):
        cubes = parts.vault.select(scope, wanted, limit=-1)
        at = now()
        done = reconciler.reconcile(cubes, at, partial(revise, at=at, actor=scope.user, method=name))
        request_id = new_id() if done.changes and not dry_run else ""
        try:
            if done.changes:
                _commit(parts, scope, done.changes, request_id, f"consolidate: {name}", dry_run=dry_run)
        except VersionConflictError:
            if not left:
                raise
            continue
        return Step(name, request_id, done.verdicts, done.links)
    raise AssertionError("the last try returns or raises")


def _commit(
    parts: Parts, scope: Scope, changes: Sequence[Change], request_id: str, reason: str, *, dry_run: bool
) -> Receipt:
    actor = scope.user if scope.agent is None else f"{scope.user}/{scope.agent}"
    request = Request(actor, request_id or new_id(), reason)
    return parts.vault.commit(changes, scope=scope, request=request, jobs=triggered_by(changes), dry_run=dry_run)


def _undone(parts: Parts, scope: Scope, request_id: str, *, dry_run: bool) -> Consolidated:
    rows = [row for row in _rows(parts, scope) if row.request_id == request_id and row.reason.startswith("consolidate")]
    if not rows:
        raise InvalidInputError(f"request {request_id!r} superseded nothing here: give one that 'consolidate' reported")
    changes: list[Restore] = []
    restored, left = [], []
    for row in rows:
        newest = parts.vault.get(scope.tenant, row.cube_id)
        before = parts.vault.get(scope.tenant, row.cube_id, version=row.version - 1)
        if newest is None or before is None or newest.version != row.version or newest.header.state is State.FROZEN:
            left.append(row.cube_id)
            continue
        changes.append(Restore(_as_before(newest, before, scope.user)))
        if newest.header.invalid_at != before.header.invalid_at:
            restored.append(row.cube_id)
    if changes:
        _commit(parts, scope, changes, "", "undo of a consolidation", dry_run=dry_run)
    return Consolidated((), tuple(restored), tuple(left), dry_run)


def _as_before(newest: MemCube, before: MemCube, actor: str) -> MemCube:
    """Return the further version that says what stood before; one that was brought back is marked as such."""
    is_back = newest.header.invalid_at != before.header.invalid_at
    method = "restore" if is_back else before.header.method
    header = before.header
    return revise(newest, now(), actor=actor, method=method, invalid_at=header.invalid_at, parents=header.parents)


def _rows(parts: Parts, scope: Scope) -> Iterable[JournalRow]:
    after = 0
    while page := parts.vault.journal(scope.tenant, after=after, limit=PAGE):
        yield from (row for row in page if row.user == scope.user)
        after = page[-1].seq
