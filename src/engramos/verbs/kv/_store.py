"""Storing a KV cube: room on disk, the blob, and one commit."""

from engramos.activation.kv_tensors import KVTensors
from engramos.changes import Create, Erase, Receipt
from engramos.clock import now_us, to_us
from engramos.cube import MemCube
from engramos.errors import (
    AccessDeniedError,
    CubeNotFoundError,
    EngramosError,
    QuotaExceededError,
    VersionConflictError,
)
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts
from engramos.verbs.kv._payload import Making, encoded, key_of, saved_s_of, written
from engramos.verbs.kv._shelf import EVICTED

HEADER_BYTES, PART_BYTES = 4_096, 256
"""What a blob takes beside its numbers: about so much, and for each tensor."""


def store(kv: KVParts, tensors: KVTensors, making: Making) -> tuple[MemCube, Receipt]:
    """Encode tensors, make room, write the blob and commit the cube; all of it or nothing.

    A process that dies between blob and commit leaves a blob that nobody uses; `verify --repair` removes it.

    Raises:
        QuotaExceededError: if it does not fit `disk_bytes`.
        BlobError, StoreError: if the disk is full or refuses.
        ConfigError, UnknownMethodError, InvalidInputError, ModelError: as encoding it.
    """
    cube_id, parts = encoded(kv, tensors, making)
    with kv.lock:
        make_room(kv, parts.num_bytes + HEADER_BYTES + PART_BYTES * len(parts.parts))
        cube = written(kv, cube_id, parts, making)
        try:
            receipt = kv.parts.commit([Create(cube)], kv.scope, reason=making.method)
        except EngramosError:
            if kv.parts.vault.get(kv.scope.tenant, cube_id) is None:
                kv.parts.vault.blobs.erase(kv.scope.tenant, cube.digest)
            raise
    kv.sync()
    return cube, receipt


def make_room(kv: KVParts, num_bytes: int) -> None:
    """Drop the least useful KV cubes until so many bytes fit `disk_bytes`.

    Least useful: the fewest seconds saved by a use, for each byte, and for each second since the last use. Cubes that
    are in use, under legal hold or frozen stay.

    Source: Pensieve, https://arxiv.org/abs/2312.05516 (retention value); the order of `activation.tier`, for files.

    Raises:
        QuotaExceededError: if they cannot fit; nothing was dropped then.
    """
    if kv.disk_bytes is None:
        return
    kv.sync()
    kv.parts.flush_uses()
    cubes = list(kv.shelf.cubes.values())
    used = sum(payload_of(cube).num_bytes for cube in cubes)
    free = [cube for cube in cubes if not _must_stay(kv, cube)]
    if used - sum(payload_of(cube).num_bytes for cube in free) + num_bytes > kv.disk_bytes:
        raise QuotaExceededError("KV cubes on disk, in bytes,", kv.disk_bytes, used + num_bytes)
    for cube in sorted(free, key=lambda one: (_value(kv, one), one.id)):
        if used + num_bytes <= kv.disk_bytes:
            return
        _evict(kv, cube)
        used -= payload_of(cube).num_bytes


def _must_stay(kv: KVParts, cube: MemCube) -> bool:
    is_pinned = any(tier.is_pinned(key_of(cube)) for tier in kv.tiers.tiers)
    return is_pinned or cube.header.retention.is_held or cube.header.state == "frozen"


def _value(kv: KVParts, cube: MemCube) -> float:
    usage = kv.parts.vault.usage(cube.header.scope.tenant, cube.id)
    stored_us = to_us(usage.last_used_at or cube.header.created_at)
    idle_us = max(1, now_us() - max(stored_us, kv.used_us.get(cube.id, 0)))
    return saved_s_of(cube) / max(1, payload_of(cube).num_bytes) / idle_us


def _evict(kv: KVParts, cube: MemCube) -> None:
    try:
        kv.parts.commit([Erase(cube.id, cube.version)], kv.scope, reason=EVICTED)
    except (VersionConflictError, CubeNotFoundError):
        # another process has changed or dropped it: the next look at the shelf will know
        kv.sync()
        return
    # no other cube has this blob; the queued scrub would remove it too, but later
    kv.parts.vault.blobs.erase(kv.scope.tenant, cube.digest)


def discard(kv: KVParts, cube: MemCube, reason: str) -> None:
    """Erase a KV cube that must not be used any more, such as one whose source is gone; under legal hold it stays."""
    kv.shelf.set_aside(cube.id)
    try:
        kv.parts.commit([Erase(cube.id, cube.version)], kv.scope, reason=reason)
    except (VersionConflictError, CubeNotFoundError, AccessDeniedError):
        kv.sync()
        return
    kv.parts.vault.blobs.erase(cube.header.scope.tenant, cube.digest)
