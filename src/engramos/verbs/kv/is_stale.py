"""is_stale: whether the sources of a KV cube are still what it was built from."""

from typing import TYPE_CHECKING

from engramos.cube import MemCube
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.sources import Stale, changed_sources

if TYPE_CHECKING:
    from engramos.verbs.kv._parts import KVParts


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
    found = kv.parts.read(kv.scope, cube) if isinstance(cube, str) else cube
    payload_of(found)
    return changed_sources(kv.parts, kv.scope, found)
