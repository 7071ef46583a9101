"""history: all versions of a cube and who made them, or its tombstone."""

from dataclasses import dataclass

from engramos.cube import MemCube
from engramos.errors import CubeNotFoundError
from engramos.rows import JournalRow, Tombstone
from engramos.scope import Scope
from engramos.verbs.parts import Parts, check_id


@dataclass(frozen=True, slots=True)
class History:
    """What was ever known of a cube."""

    versions: tuple[MemCube, ...]
    """Oldest first; none where it was erased."""
    journal: tuple[JournalRow, ...]
    tombstone: Tombstone | None = None


def history(parts: Parts, cube_id: str, scope: Scope) -> History:
    """Return the versions and the journal rows of a cube; of an erased one, the tombstone and its journal row.

    Raises:
        CubeNotFoundError: if there never was one, or the scope may not know of it.
    """
    tombstone = parts.vault.tombstone(scope.tenant, check_id(cube_id))
    rows = tuple(parts.vault.journal_of(scope.tenant, cube_id))
    if tombstone is not None:
        if not any(row.user == scope.user for row in rows):
            raise CubeNotFoundError(cube_id)
        return History((), rows, tombstone)
    parts.read(scope, cube_id)
    return History(tuple(parts.vault.history(scope.tenant, cube_id)), rows)
