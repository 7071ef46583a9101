"""rollback: an adapter acts no more, and what it had replaced acts again; undo: the same for an edit alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from engramos.changes import Archive, Restore
from engramos.clock import now
from engramos.cube import MemCube, State
from engramos.errors import InvalidInputError
from engramos.lifecycle import move
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.verbs.parametric._cube import ACTIVE, is_always_on, payload_of, replaced_by
from engramos.verbs.parts import Parts
from engramos.verbs.sources import changed_sources


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What rollback did."""

    cube: MemCube
    """The adapter, archived."""
    restored: tuple[MemCube, ...] = ()
    """Adapters that are active again."""
    left: tuple[str, ...] = ()
    """Adapters that it had replaced, and that stay archived because a source has changed."""


def rollback(
    parts: Parts,
    scope: Scope,
    cube_id: str | None = None,
    *,
    base: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> RolledBack:
    """Switch an adapter off, and those on whose place it took, in one commit. No model is needed.

    Args:
        parts: of the open memory.
        scope: whose.
        cube_id: of an active adapter; the one that became active last where None.
        base: fingerprint of the base model whose adapters are meant where no id is given; all where None.
        dry_run: say what would be done, and do nothing.

    Raises:
        InvalidInputError: if it is no active adapter, or there is none.
        CubeNotFoundError, AccessDeniedError: if it is not there, or not the caller's to change.
        FrozenError: if it is frozen.
    """
    cube = parts.read(scope, cube_id or _last(parts, scope, base), "write")
    payload_of(cube)
    if cube.header.state not in ACTIVE:
        raise InvalidInputError(f"adapter {cube.id!r} is {cube.header.state}: only active ones are rolled back")
    at, actor = now(), scope.user
    archived = move(cube, State.ARCHIVED, at, actor=actor, method="rollback")
    changes: list[Archive | Restore] = [Archive(archived)]
    left = []
    for old_id in replaced_by(cube):
        old = parts.vault.get(scope.tenant, old_id)
        if old is None or old.header.state is not State.ARCHIVED:
            continue
        if changed_sources(parts, scope, old):
            left.append(old_id)
            continue
        changes.append(Restore(move(old, State.ACTIVATED, at, actor=actor, method="rollback")))
    parts.commit(changes, scope, reason="parametric: rollback", dry_run=dry_run)
    return RolledBack(archived, tuple(one.cube for one in changes[1:]), tuple(left))


def _last(parts: Parts, scope: Scope, base: Mapping[str, str] | None) -> str:
    """Return the id of the adapter that became active last."""
    cubes = parts.vault.select(scope, Filter(forms=("parametric",), states=ACTIVE), limit=-1)
    fitting = [cube for cube in cubes if base is None or dict(payload_of(cube).base_fingerprint) == dict(base)]
    if not fitting:
        raise InvalidInputError("no adapter is active: there is nothing to roll back")
    return max(fitting, key=lambda one: (one.header.created_at, one.id)).id


def undo(parts: Parts, scope: Scope, cube_id: str) -> MemCube:
    """Let an edit act no more; other edits stay. No model is needed.

    Raises:
        CubeNotFoundError, AccessDeniedError: if it is not there, or not the caller's to change.
        InvalidInputError: if it is no active edit.
    """
    if not is_always_on(parts.read(scope, cube_id)):
        raise InvalidInputError(f"adapter {cube_id!r} is no edit: roll it back instead")
    return rollback(parts, scope, cube_id).cube
