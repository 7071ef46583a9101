"""demote: what adapters know is plaintext alone again."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.changes import Archive
from engramos.clock import now
from engramos.cube import State
from engramos.lifecycle import move
from engramos.scope import Scope
from engramos.verbs.parametric._cube import payload_of
from engramos.verbs.parts import Parts
from engramos.verbs.sources import changed_sources


@dataclass(frozen=True, slots=True)
class Demoted:
    """Adapters that act no more, and the plaintext that still says what they knew."""

    adapter_ids: tuple[str, ...]
    cube_ids: tuple[str, ...]
    """Their sources, all of which are kept."""
    lost: tuple[str, ...] = ()
    """Sources that are no longer what was written: updated, superseded or erased since."""


def demote(parts: Parts, cube_ids: Sequence[str], scope: Scope, *, dry_run: bool = False) -> Demoted:
    """Archive adapters. Nothing has to be written back: what is in weights was never taken out of plaintext.

    No model is needed.

    Args:
        parts: of the open memory.
        cube_ids: of adapters.
        scope: whose.
        dry_run: say what would be done, and do nothing.

    Raises:
        CubeNotFoundError, AccessDeniedError: if one is not there, or not the caller's to change.
        InvalidInputError: if one is no adapter.
        FrozenError, IllegalTransitionError: if its state forbids it.
    """
    cubes = [parts.read(scope, cube_id, "write") for cube_id in dict.fromkeys(cube_ids)]
    changes, sources, lost = [], dict[str, None](), dict[str, None]()
    for cube in cubes:
        payload_of(cube)
        sources |= dict.fromkeys(edge.cube_id for edge in cube.header.parents)
        lost |= dict.fromkeys(one.cube_id for one in changed_sources(parts, scope, cube))
        if cube.header.state is not State.ARCHIVED:
            changes.append(Archive(move(cube, State.ARCHIVED, now(), actor=scope.user, method="demote")))
    parts.commit(changes, scope, reason="parametric: demote", dry_run=dry_run)
    return Demoted(tuple(cube.id for cube in cubes), tuple(sources), tuple(lost))
