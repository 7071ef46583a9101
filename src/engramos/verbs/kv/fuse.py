"""fuse: KV cubes in an order in which no stored prefix has them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import finalize

from engramos.activation.fusion import ROLE
from engramos.engines._fuse import fuse as fuse_pieces
from engramos.errors import InvalidInputError
from engramos.verbs.kv._parts import KVParts, check_model, memory_errors
from engramos.verbs.kv._payload import attached, tensors_in_use
from engramos.verbs.kv.is_stale import is_stale
from engramos.verbs.kv.lookup import lookup


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """A cache that begins with several KV cubes."""

    cache: Any
    """Of the engine."""
    token_ids: tuple[int, ...]
    """Of all pieces, in their order."""
    cube_id: str | None
    """The one stored prefix that has them in this order; None where they were fused."""
    notes: tuple[str, ...] = ()


def fuse(kv: KVParts, cube_ids: Sequence[str], *, fusion: str = "blend") -> Fused:
    """Return a cache of KV cubes that follow one another, wherever each was encoded.

    Where one stored prefix has them in this order, that is taken and the result is exact. Else their keys are turned to
    their new places and some tokens are computed again: what follows is near to a full prefill, and a note says so.

    Args:
        kv: of the open memory.
        cube_ids: the cubes, in their order; none may be pruned.
        fusion: what is computed again, as `Role.parse` reads it.

    Raises:
        CubeNotFoundError: if a cube is not in this scope.
        InvalidInputError: if there is none, or one is stale or no KV cube.
        ModelMismatchError: if another model made one.
        UnsupportedError: if tokens were removed from one.
        ContextLengthError: if they do not fit the model's window together.
        CorruptPayloadError, ArchiveError, BlobError, ModelError: as of `attach`.
        UnknownMethodError, ConfigError: if there is no such fusion.
    """
    if not cube_ids:
        raise InvalidInputError("there are no pieces to fuse: give ids of KV cubes")
    method = ROLE.parse(fusion)
    kv.sync()
    cubes = [kv.parts.read(kv.scope, cube_id) for cube_id in cube_ids]
    rows = [check_model(kv, cube).token_ids for cube in cubes]
    for cube in cubes:
        if is_stale(kv, cube):
            raise InvalidInputError(f"KV cube {cube.id!r} is stale: run refresh, and fuse what it returns")
    whole = tuple(token for row in rows for token in row)
    match = lookup(kv, whole)
    if match is not None and match.num_tokens == len(whole):
        return Fused(attached(kv, kv.shelf.cubes[match.cube_id], len(whole)), whole, match.cube_id)
    with ExitStack() as stack:
        tensors = [tensors_in_use(kv, cube, stack) for cube in cubes]
        with memory_errors("fusing KV cubes"):
            cache = fuse_pieces(kv.engine, tensors, rows, method)
        finalize(cache, stack.pop_all().close)
    for cube in cubes:
        kv.note_use(cube)
    note = f"approximate: {len(cubes)} pieces were encoded apart and fused by {type(method).__name__.lower()}"
    return Fused(cache, whole, None, (note,) if len(cubes) > 1 else ())
