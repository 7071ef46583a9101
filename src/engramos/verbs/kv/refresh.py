"""refresh: build stale KV cubes anew from what their sources say now."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.activation.fingerprint import Fingerprint
from engramos.clock import now
from engramos.cube import Form, MemCube, State
from engramos.errors import AccessDeniedError, CubeNotFoundError
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts
from engramos.verbs.kv.drop import drop
from engramos.verbs.kv.is_stale import is_stale
from engramos.verbs.kv.promote import promote


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A stale KV cube, and what came of it."""

    old_id: str
    """Erased now, unless it is under legal hold."""
    new_id: str | None
    """The cube that stands for it; None where none of its sources can be read any more."""


def refresh(kv: KVParts, *, system: str | None = None) -> Sequence[Refreshed]:
    """Build each stale KV cube of this model anew from the newest versions of its sources, and erase the old one.

    Sources that are hidden, superseded or gone are left out.

    Args:
        kv: of the open memory.
        system: what the system says before the block, as it was at `promote`.

    Raises:
        QuotaExceededError, BlobError, StoreError, ModelError, ContextLengthError: as of `promote`; those built before
            stay.
    """
    kv.sync()
    done = []
    for cube in sorted(kv.shelf.cubes.values(), key=lambda one: one.id):
        payload = payload_of(cube)
        if cube.id in kv.shelf.damaged or not is_stale(kv, cube):
            continue
        if kv.fingerprint.differences(Fingerprint.from_mapping(payload.fingerprint)):
            continue
        done.append(_rebuilt(kv, cube, system))
    return done


def _rebuilt(kv: KVParts, cube: MemCube, system: str | None) -> Refreshed:
    payload = payload_of(cube)
    alive = [edge.cube_id for edge in cube.header.parents if _is_readable(kv, edge.cube_id)]
    new_id = None
    if alive:
        title = payload.attributes.get("title")
        new_id = promote(kv, alive, system=system, title=title, codec=payload.codec).id
    try:
        drop(kv, cube.id, reason="kv: stale")
    except (AccessDeniedError, CubeNotFoundError):
        # under legal hold it stays, and is served to nobody
        kv.shelf.set_aside(cube.id)
    return Refreshed(cube.id, new_id)


def _is_readable(kv: KVParts, cube_id: str) -> bool:
    try:
        cube = kv.parts.read(kv.scope, cube_id)
    except CubeNotFoundError:
        return False
    is_true = cube.header.invalid_at is None or cube.header.invalid_at > now()
    is_active = cube.header.state in (State.ACTIVATED, State.FROZEN)
    return cube.header.form is Form.PLAINTEXT and is_active and is_true
