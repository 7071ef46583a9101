"""is_stale: whether the sources of a KV cube are still what it was built from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engramos.clock import now
from engramos.cube import MemCube, Relation, State
from engramos.governance.access import is_over, may
from engramos.scope import Scope
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.parts import Parts

if TYPE_CHECKING:
    from engramos.verbs.kv._parts import KVParts

GONE = "erased"


@dataclass(frozen=True, slots=True)
class Stale:
    """A source that is no longer what a KV cube was built from."""

    cube_id: str
    """The source."""
    version: int
    """That the KV cube was built from."""
    why: str
    """`erased`, `hidden`, `superseded`, `expired`, `not readable`, or `version N`."""


def is_stale(kv: "KVParts", cube: MemCube | str) -> tuple[Stale, ...]:
    """Return the sources that changed since a KV cube was built; empty, and so false, where it is fresh.

    It is a query over lineage: nothing has to be marked when a source changes.

    Args:
        kv: of the open memory.
        cube: a KV cube or its id; one that was not promoted is never stale.

    Raises:
        CubeNotFoundError: if there is none.
        InvalidInputError: if it is no KV cube.
    """
    return changed_sources(kv.parts, kv.scope, kv.parts.read(kv.scope, cube) if isinstance(cube, str) else cube)


def changed_sources(parts: Parts, scope: Scope, cube: MemCube) -> tuple[Stale, ...]:
    """Return what `is_stale` does; it needs no model."""
    payload_of(cube)
    edges = [edge for edge in cube.header.parents if edge.relation is Relation.DERIVED_FROM]
    if not edges:
        return ()
    heads = parts.vault.get_many(cube.header.scope.tenant, [edge.cube_id for edge in edges])
    found = ((edge, _changed(scope, heads.get(edge.cube_id), edge.version)) for edge in edges)
    return tuple(Stale(edge.cube_id, edge.version, why) for edge, why in found if why)


def _changed(scope: Scope, head: MemCube | None, version: int) -> str:
    if head is None:
        return GONE
    header, at = head.header, now()
    if is_over(header, at) or header.state is State.EXPIRED:
        return "expired"
    if not may(header, scope, "read"):
        return "not readable"
    if header.state not in (State.ACTIVATED, State.FROZEN):
        return "hidden"
    if header.invalid_at is not None and header.invalid_at <= at:
        return "superseded"
    return f"version {head.version}" if head.version != version else ""
