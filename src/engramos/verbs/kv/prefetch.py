"""prefetch: load what queued requests will need."""

from collections.abc import Sequence
from concurrent.futures import Future

from engramos.verbs.kv._parts import KVParts, check_model
from engramos.verbs.kv._payload import key_of, loader


def prefetch(kv: KVParts, cube_ids: Sequence[str]) -> Sequence[Future]:
    """Begin to load KV cubes into the fastest tier, and return at once.

    Args:
        kv: of the open memory.
        cube_ids: the most urgent first; nothing is done for those that are there already.

    Returns:
        A future for each that was queued. An error stands in it; no request fails for it.

    Raises:
        CubeNotFoundError: if a cube is not in this scope.
        InvalidInputError, ModelMismatchError: if one is no KV cube of this model.
    """
    wanted = []
    for cube_id in dict.fromkeys([cube_ids] if isinstance(cube_ids, str) else cube_ids):
        cube = kv.parts.read(kv.scope, cube_id)
        check_model(kv, cube)
        with kv.lock:
            kv.keys[cube.id] = key_of(cube)
        wanted.append((key_of(cube), loader(kv, cube)))
    return kv.tiers.prefetch(wanted)
