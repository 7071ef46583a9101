"""get: one cube by its id."""

from datetime import datetime

from engramos.clock import now
from engramos.cube import MemCube
from engramos.errors import CubeNotFoundError
from engramos.governance.access import check
from engramos.messages import check_time
from engramos.scope import Scope
from engramos.verbs.parts import Parts, check_id, check_version


def get(
    parts: Parts, cube_id: str, scope: Scope, *, version: int | None = None, known_at: datetime | None = None
) -> MemCube:
    """Return a cube's newest version, the given one, or the one that was known at a time.

    Raises:
        CubeNotFoundError: if there is none, or the scope may not know of it.
        InvalidInputError: if the id or the version cannot be one.
        CorruptPayloadError: if its stored bytes are damaged.
    """
    parts.read(scope, cube_id)
    if version is not None:
        check_version(version)
    if known_at is not None:
        known_at = check_time("known_at", known_at)
    cube = parts.vault.get(scope.tenant, check_id(cube_id), version=version, known_at=known_at)
    if cube is None:
        raise CubeNotFoundError(cube_id, version)
    check(cube.header, cube_id, scope, "read", now())
    return cube
