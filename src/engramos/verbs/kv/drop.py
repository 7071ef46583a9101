"""drop: erase a KV cube and its bytes."""

from engramos.verbs.forget import Forgotten, Which, forget
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts


def drop(kv: KVParts, cube_id: str, *, reason: str = "", dry_run: bool = False) -> Forgotten:
    """Erase a KV cube with its blob and its tensors in every tier, and return the receipt; its sources stay.

    Args:
        kv: of the open memory.
        cube_id: which.
        reason: why, for the journal.
        dry_run: say what would be erased.

    Raises:
        CubeNotFoundError: if there is none.
        InvalidInputError: if it is no KV cube.
        AccessDeniedError: if it may not be written, or is under legal hold.
    """
    payload_of(kv.parts.read(kv.scope, cube_id))
    return forget(kv.parts, Which((cube_id,)), "erase", kv.scope, reason=reason or "kv: dropped", dry_run=dry_run)
