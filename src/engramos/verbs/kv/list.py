"""list: the KV cubes of a user, with what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.activation.fingerprint import Fingerprint
from engramos.cube import MemCube
from engramos.errors import InvalidInputError
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts
from engramos.verbs.kv._payload import key_of
from engramos.verbs.kv.is_stale import Stale, is_stale


@dataclass(frozen=True, slots=True)
class Listed:
    """A KV cube, and how it stands."""

    cube: MemCube
    tier: str
    """The fastest tier that holds it: `gpu`, `ram` or `disk`."""
    stale: tuple[Stale, ...]
    """Sources that have changed; empty where it is fresh."""
    differences: tuple[str, ...]
    """Where its model is not this one: the parts that differ."""
    problem: str
    """Why it cannot be used, as far as that was found; empty where nothing was."""


def list_cubes(kv: KVParts) -> Sequence[Listed]:
    """Return the KV cubes of this tenant, user and agent, in the order of their making; no blob is read."""
    kv.sync()
    return [_listed(kv, cube) for _, cube in sorted(kv.shelf.cubes.items())]


def _listed(kv: KVParts, cube: MemCube) -> Listed:
    problem = kv.shelf.damaged.get(cube.id, "")
    differences: tuple[str, ...] = ()
    try:
        differences = kv.fingerprint.differences(Fingerprint.from_mapping(payload_of(cube).fingerprint))
    except InvalidInputError as error:
        problem = problem or str(error)
    return Listed(cube, kv.tiers.where(key_of(cube)) or "disk", is_stale(kv, cube), differences, problem)
