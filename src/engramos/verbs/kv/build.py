"""build: encode a prompt, a document or a conversation once, and keep its KV cache as a cube."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engramos.activation.codecs import ROLE
from engramos.activation.kv_tensors import KVTensors
from engramos.changes import Receipt
from engramos.cube import CubeType, MemCube
from engramos.errors import ContextLengthError, InvalidInputError
from engramos.messages import check_text
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts, memory_errors, timed
from engramos.verbs.kv._payload import Making
from engramos.verbs.kv._store import discard, store

MAX_TITLE_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Built:
    """A KV cube that was built, or that was there."""

    cube: MemCube
    is_new: bool
    """False where a cube of the same tokens, model and codec was there already."""
    receipt: Receipt | None = None
    """Of the commit; None where nothing was written."""

    @property
    def id(self) -> str:
        """The cube's id."""
        return self.cube.id

    @property
    def num_tokens(self) -> int:
        """Tokens that it holds."""
        return len(payload_of(self.cube).token_ids)

    @property
    def num_bytes(self) -> int:
        """Bytes of its blob."""
        return payload_of(self.cube).num_bytes


def build(
    kv: KVParts,
    text: str | None = None,
    *,
    messages: Sequence[Mapping[str, str]] | None = None,
    token_ids: Sequence[int] | None = None,
    title: str | None = None,
    codec: str | None = None,
    is_piece: bool = False,
) -> Built:
    """Read a text with the model, and keep the keys and values as a cube; durable when it returns.

    The cube is never changed. A second build of the same tokens, with the same model and codec, returns the first cube.

    Args:
        kv: of the open memory.
        text: as it is; or
        messages: in the model's chat template, without the opening of an answer; or
        token_ids: exactly one of the three is given.
        title: shown in lists.
        codec: how keys and values are stored, as `Role.parse` reads it; that of the memory where None.
        is_piece: for reuse behind other pieces (`answer(pieces=...)`), not as the beginning of a prompt.

    Raises:
        InvalidInputError: if not exactly one input is given, or it is empty.
        ContextLengthError: if it does not fit the model's window.
        ConfigError, UnknownMethodError: if the codec is none.
        QuotaExceededError: if it does not fit `disk_bytes`.
        BlobError, StoreError: if the disk is full or refuses; nothing is left behind.
        ModelError: if no memory is left.
    """
    given = [one for one in (text, messages, token_ids) if one is not None]
    if len(given) != 1:
        raise InvalidInputError("say what to build from: text, messages or token_ids, and only one of them")
    if title is not None:
        check_text("title", title, MAX_TITLE_BYTES)
    ids, codec = kv.tokens_of(given[0], answers=False), codec or kv.codec
    ROLE.parse(codec)
    kind = CubeType.BLOCKS if is_piece else CubeType.PREFIX
    with kv.building:
        if (known := stored(kv, ids, codec, is_piece=is_piece)) is not None:
            return Built(known, False)
        tensors, prefill_s = timed(lambda: read(kv, ids, is_piece=is_piece))
        cube, receipt = store(kv, tensors, Making(codec, prefill_s, kind, title))
    return Built(cube, True, receipt)


def read(kv: KVParts, token_ids: Sequence[int], *, is_piece: bool = False) -> KVTensors:
    """Return the tensors of tokens that the model reads from nothing.

    Raises:
        ContextLengthError: if they do not fit the model's window.
        ModelError: if no memory is left.
    """
    if len(token_ids) > kv.engine.max_tokens:
        raise ContextLengthError(len(token_ids), kv.engine.max_tokens)
    with memory_errors(f"reading {len(token_ids)} tokens"):
        if is_piece:
            from engramos.engines._fuse import encode_piece

            return encode_piece(kv.engine, token_ids)
        cache = kv.engine.new_cache()
        kv.engine.prefill(token_ids, cache)
        return kv.engine.detach(cache)


def stored(kv: KVParts, token_ids: Sequence[int], codec: str, *, is_piece: bool = False) -> MemCube | None:
    """Return the cube of exactly these tokens; one that was found damaged is erased, so that it can be built anew."""
    kv.sync()
    wanted = CubeType.BLOCKS if is_piece else CubeType.PREFIX
    table, ids = kv.fingerprint.to_mapping(), tuple(token_ids)
    for cube in list(kv.shelf.cubes.values()):
        payload = payload_of(cube)
        is_same = payload.token_ids == ids and payload.codec == codec and dict(payload.fingerprint) == table
        if not is_same or cube.header.type is not wanted or cube.header.parents:
            continue
        if cube.id not in kv.shelf.damaged:
            return cube
        discard(kv, cube, "kv: damaged, built anew")
    return None
