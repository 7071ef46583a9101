"""Between KV caches and blobs: writing one, and reading one that is verified."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import finalize

from engramos.activation.kv_encoding import decode, encode
from engramos.activation.kv_tensors import KVTensors
from engramos.clock import new_id, now, now_us
from engramos.cube import ActivationPayload, CubeType, Edge, Form, Header, MemCube, Retention, Source
from engramos.errors import ArchiveError
from engramos.governance.access import check
from engramos.vault.kv_file import open_kv, stream_of
from engramos.verbs.kv._cut import cut
from engramos.verbs.kv._parts import KVParts, check_model, memory_errors

BOUND_TO = "cube"
"""The field beside the fingerprint by which a blob names its cube, so that no two cubes ever share a blob."""


@dataclass(frozen=True, slots=True)
class Making:
    """How a KV cube is made, beside its tokens."""

    codec: str
    prefill_s: float
    """Seconds that the model took for the tokens: what each use saves."""
    type: CubeType = CubeType.PREFIX
    title: str | None = None
    method: str = "kv_build"
    parents: tuple[Edge, ...] = ()
    trust: float = 1.0
    expires_at: datetime | None = None
    """When it must be gone; None keeps it."""
    template: str = ""
    """How text became tokens, for a promoted cube."""
    removing: tuple[str, float] | None = None
    """The policy that removed tokens, and the kept ratio; None where all are there."""


def parameters_of(codec: str, removing: tuple[str, float] | None) -> dict[str, Any]:
    """Return what the header of a KV cube says of how it was made."""
    return {"codec": codec} | ({} if removing is None else {"policy": removing[0], "kept": removing[1]})


def encoded(kv: KVParts, tensors: KVTensors, making: Making) -> tuple[str, Any]:
    """Return the id of a new cube, and its tensors encoded.

    Raises:
        ConfigError, UnknownMethodError: if the codec is none.
        InvalidInputError: if a number is NaN or infinite.
        ModelError: if no memory is left.
    """
    cube_id = new_id()
    table = kv.fingerprint.to_mapping() | {BOUND_TO: cube_id}
    with memory_errors("encoding a KV cube"):
        policy = "full" if making.removing is None else making.removing[0]
        return cube_id, encode(tensors, making.codec, making.codec, kv.ropes, fingerprint=table, policy=policy)


def written(kv: KVParts, cube_id: str, kv_encoded: Any, making: Making) -> MemCube:
    """Write the blob of a cube, durably, and return the cube, which nobody has committed yet.

    Raises:
        BlobError: if the disk is full or refuses; nothing is left behind.
    """
    digest, num_bytes = kv.parts.vault.blobs.put(kv.scope.tenant, stream_of(kv_encoded))
    about = kv_encoded.description
    ids = tuple(kv_encoded.parts["token_ids"].tolist())
    attributes = {"title": making.title, "prefill_s": making.prefill_s, "template": making.template}
    if making.parents:
        attributes["order"] = [edge.cube_id for edge in making.parents]
    payload = ActivationPayload(
        digest,
        num_bytes,
        kv.fingerprint.to_mapping(),
        ids,
        # where tokens were removed each head has its own positions: those are in the blob
        tuple(range(len(ids))) if making.removing is None else (),
        about.kept_ratio,
        making.codec,
        {name: value for name, value in attributes.items() if value not in (None, "")},
    )
    return MemCube(_header(kv, cube_id, making), payload)


def _header(kv: KVParts, cube_id: str, making: Making) -> Header:
    scope = kv.scope
    return Header(
        cube_id=cube_id,
        version=1,
        form=Form.ACTIVATION,
        type=making.type,
        scope=scope,
        created_at=now(),
        parents=making.parents,
        method=making.method,
        parameters=parameters_of(making.codec, making.removing),
        model=kv.fingerprint.digest,
        actor=scope.user if scope.agent is None else f"{scope.user}/{scope.agent}",
        source=Source("derivation" if making.parents else "message"),
        trust=making.trust,
        retention=Retention(making.expires_at),
    )


def loader(kv: KVParts, cube: MemCube) -> Callable[[], KVTensors]:
    """Return what reads a cube's blob, verifies it and decodes it."""
    return lambda: _load(kv, cube)


def _load(kv: KVParts, cube: MemCube) -> KVTensors:
    payload = check_model(kv, cube)
    began = now_us()
    with kv.parts.vault.blobs.open(cube.header.scope.tenant, payload.digest) as file:
        opened = open_kv(file, payload.digest)
    about = opened.cube.description
    said = {**payload.fingerprint, BOUND_TO: cube.id}
    if dict(about.fingerprint) != said or (about.codec_keys, about.codec_values) != (payload.codec, payload.codec):
        raise ArchiveError(f"the blob of KV cube {cube.id!r} says to be of another cube: drop it and build it again")
    with memory_errors(f"reading KV cube {cube.id!r}"):
        value = decode(opened.cube, kv.ropes)
    if value.token_ids != payload.token_ids:
        raise ArchiveError(f"the blob of KV cube {cube.id!r} holds other tokens: drop it and build it again")
    kv.loaded_bytes += opened.num_bytes
    kv.loaded_us += max(1, now_us() - began)
    return value


def key_of(cube: MemCube) -> tuple[str, str]:
    """Return the key of a cube's tensors in the tiers."""
    return cube.header.scope.tenant, cube.digest


def saved_s_of(cube: MemCube) -> float:
    """Return the seconds that each use of a cube saves."""
    attributes = getattr(cube.payload, "attributes", {})
    value = attributes.get("prefill_s", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def tensors_in_use(kv: KVParts, cube: MemCube, stack: ExitStack) -> KVTensors:
    """Return a cube's tensors, which no tier gives up until the stack is closed.

    Raises:
        CubeNotFoundError: if the cube was erased meanwhile.
        ModelMismatchError, CorruptPayloadError, ArchiveError, BlobError, ModelError: as reading it.
    """
    check_model(kv, cube)
    key = key_of(cube)
    with kv.lock:
        kv.keys[cube.id] = key
    value = stack.enter_context(kv.tiers.use(key, loader(kv, cube), saved_s=saved_s_of(cube)))
    head = kv.parts.vault.get(cube.header.scope.tenant, cube.id)
    if head is None:
        # it was erased between the look-up and now: what was read must not stay
        kv.lose(cube.id)
    check(None if head is None else head.header, cube.id, kv.scope, "read", now())
    return value


def attached(kv: KVParts, cube: MemCube, num_tokens: int | None = None) -> Any:
    """Return a cache that begins with a cube, or with its first tokens; its tensors stay in their tier while it lives.

    Raises:
        UnsupportedError: if the cube cannot be cut to so many tokens.
        CubeNotFoundError, ModelMismatchError, CorruptPayloadError, ArchiveError, BlobError, ModelError: as reading it.
    """
    with ExitStack() as stack:
        value = tensors_in_use(kv, cube, stack)
        with memory_errors(f"attaching KV cube {cube.id!r}"):
            cache = kv.engine.attach(value)
        cut(cache, value.num_tokens if num_tokens is None else num_tokens)
        finalize(cache, stack.pop_all().close)
    kv.note_use(cube)
    return cache
