"""Whether the sources of a derived cube are still what it was made from: a query over lineage."""

from dataclasses import dataclass

from engramos.clock import now
from engramos.cube import MemCube, Relation, State
from engramos.governance.access import is_over, may
from engramos.scope import Scope
from engramos.verbs.parts import Parts

GONE = "erased"


@dataclass(frozen=True, slots=True)
class Stale:
    """A source that is no longer what a cube was made from."""

    cube_id: str
    """The source."""
    version: int
    """That the cube was made from."""
    why: str
    """`erased`, `hidden`, `superseded`, `expired`, `not readable`, or `version N`."""


def changed_sources(parts: Parts, scope: Scope, cube: MemCube) -> tuple[Stale, ...]:
    """Return the sources that changed since a cube was derived from them; none where it is fresh."""
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
