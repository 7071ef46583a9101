"""attach: a cache of the engine that begins with a KV cube."""

from typing import Any

from engramos.errors import InvalidInputError
from engramos.verbs.kv._parts import KVParts, check_model
from engramos.verbs.kv._payload import attached
from engramos.verbs.kv.is_stale import is_stale


def attach(kv: KVParts, cube_id: str, *, allow_stale: bool = False) -> Any:
    """Return a cache that begins with a KV cube; the cube itself is never changed by what is added.

    Its tensors stay in their tier for as long as the cache lives.

    Args:
        kv: of the open memory.
        cube_id: which.
        allow_stale: attach it although its sources have changed.

    Raises:
        CubeNotFoundError: if there is none in this scope; a cube of another tenant looks the same.
        InvalidInputError: if it is no KV cube, or a stale one.
        ModelMismatchError: if another model made it, with the parts that differ.
        CorruptPayloadError, ArchiveError, BlobError: if its blob is damaged or gone.
        ModelError: if no memory is left.
    """
    kv.sync()
    cube = kv.parts.read(kv.scope, cube_id)
    check_model(kv, cube)
    stale = is_stale(kv, cube)
    if stale and not allow_stale:
        first = stale[0]
        raise InvalidInputError(
            f"KV cube {cube_id!r} is stale: its source {first.cube_id!r} is {first.why}; run refresh, or allow_stale"
        )
    return attached(kv, cube)
