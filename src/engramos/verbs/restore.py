"""restore: bring a hidden cube back, thaw a frozen one, or make an earlier version the newest."""

from dataclasses import replace

from engramos.changes import Restore
from engramos.clock import now
from engramos.cube import MemCube, State
from engramos.errors import CubeNotFoundError, IllegalTransitionError
from engramos.lifecycle import move, revise
from engramos.scope import Scope
from engramos.vault.sqlite.records import is_searched
from engramos.verbs.parts import Parts, check_version, with_entries


def restore(parts: Parts, cube_id: str, scope: Scope, *, version: int | None = None, dry_run: bool = False) -> MemCube:
    """Write and return a further version that is active again.

    Without `version`, a cube that is expired, archived, merged, frozen or superseded becomes active as it was. With
    `version`, that version's content becomes the newest.

    Raises:
        CubeNotFoundError: if there is no such cube or version; an erased one cannot come back.
        AccessDeniedError: if the scope may not write it.
        InvalidInputError: if the version cannot be one.
        IllegalTransitionError: if it is active already and no version is given.
    """
    cube = parts.read(scope, cube_id, "write")
    at, actor = now(), scope.user
    if version is None:
        newer = _brought_back(cube, at, actor)
    else:
        old = parts.vault.get(scope.tenant, cube_id, version=check_version(version))
        if old is None:
            raise CubeNotFoundError(cube_id, version)
        base = cube if cube.header.state is State.ACTIVATED else _brought_back(cube, at, actor)
        kept = {"valid_at": old.header.valid_at, "invalid_at": old.header.invalid_at, "labels": old.header.labels}
        newer = revise(base, at, actor=actor, payload=old.payload, method="restore", **kept)
        newer = MemCube(replace(newer.header, version=cube.version + 1), newer.payload)
    changes = with_entries(parts, Restore, [newer]) if is_searched(newer) else [Restore(newer)]
    parts.commit(changes, scope, reason="restore", dry_run=dry_run)
    return newer


def _brought_back(cube: MemCube, at: object, actor: str) -> MemCube:
    if cube.header.state is State.ACTIVATED:
        if cube.header.invalid_at is None:
            raise IllegalTransitionError(cube.id, cube.header.state, State.ACTIVATED)
        return revise(cube, now(), actor=actor, method="restore", invalid_at=None)
    return move(cube, State.ACTIVATED, now(), actor=actor, method="restore", invalid_at=None)
