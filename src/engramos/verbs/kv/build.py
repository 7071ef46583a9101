"""build: encode a prompt, a document or a conversation once, and keep its KV cache as a cube."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engramos.activation.codecs import ROLE
from engramos.activation.kv_tensors import KVTensors
from engramos.changes import Receipt
from engramos.cube import CubeType, MemCube
from engramos.errors import ContextLengthError, InvalidInputError
from engramos.messages import check_text
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts, memory_errors, timed
from engramos.verbs.kv._payload import Making, parameters_of
from engramos.verbs.kv._store import discard, store

MAX_TITLE_BYTES = 1_000
DEFAULT_POLICY = "kvzip"
"""Of those that do not know the question, it kept most pass keys (docs/results.md)."""


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
    kept: float | None = None,
    policy: str | None = None,
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
        kept: the kept ratio, above 0, up to 1: less than all makes the cube smaller and its answers approximate. Such a
            cube is attached by its id alone; no look-up finds it. None keeps everything.
        policy: which tokens stay, as `Role.parse` reads it; `kvzip` where None. Only beside `kept`.
        is_piece: for reuse behind other pieces (`answer(pieces=...)`), not as the beginning of a prompt.

    Raises:
        InvalidInputError: if not exactly one input is given, or it is empty.
        ContextLengthError: if it does not fit the model's window.
        ConfigError, UnknownMethodError: if codec, policy or kept ratio is none.
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
    if policy is not None and kept is None:
        raise InvalidInputError("policy says which tokens stay: say also how many, by kept")
    if kept is not None and is_piece:
        raise InvalidInputError("a piece must be whole to be fused: build it without kept")
    kind = CubeType.BLOCKS if is_piece else CubeType.PREFIX
    removing = None if kept is None else (policy or DEFAULT_POLICY, kept)
    with kv.building:
        if (known := stored(kv, ids, parameters_of(codec, removing), is_piece=is_piece)) is not None:
            return Built(known, False)
        tensors, prefill_s = timed(lambda: read(kv, ids, is_piece=is_piece, removing=removing))
        cube, receipt = store(kv, tensors, Making(codec, prefill_s, kind, title, removing=removing))
    return Built(cube, True, receipt)


def read(
    kv: KVParts, token_ids: Sequence[int], *, is_piece: bool = False, removing: tuple[str, float] | None = None
) -> KVTensors:
    """Return the tensors of tokens that the model reads from nothing.

    Args:
        kv: of the open memory.
        token_ids: 1 or more.
        is_piece: read as a piece that may come to stand anywhere.
        removing: the policy that removes tokens, and the kept ratio; None keeps all.

    Raises:
        ConfigError, UnknownMethodError: if the policy or the kept ratio is none.
        ContextLengthError: if they do not fit the model's window.
        ModelError: if no memory is left.
    """
    if len(token_ids) > kv.engine.max_tokens:
        raise ContextLengthError(len(token_ids), kv.engine.max_tokens)
    with memory_errors(f"reading {len(token_ids)} tokens"):
        if is_piece:
            from engramos.engines._fuse import encode_piece

            return encode_piece(kv.engine, token_ids)
        cache = kv.engine.new_cache(None if removing is None else _keeping(*removing))
        kv.engine.prefill(token_ids, cache)
        return kv.engine.detach(cache)


def _keeping(policy: str, kept: float) -> Any:
    from engramos.activation.budgets import Budget
    from engramos.activation.keeping import Keeping
    from engramos.activation.policies import ROLE as POLICIES

    return Keeping(POLICIES.parse(policy), Budget(ratio=kept))


def stored(
    kv: KVParts, token_ids: Sequence[int], parameters: Mapping[str, Any], *, is_piece: bool = False
) -> MemCube | None:
    """Return the cube of exactly these tokens, made with these parameters; one that was found damaged is erased."""
    kv.sync()
    wanted = CubeType.BLOCKS if is_piece else CubeType.PREFIX
    table, ids = kv.fingerprint.to_mapping(), tuple(token_ids)
    for cube in list(kv.shelf.cubes.values()):
        payload = payload_of(cube)
        is_same = payload.token_ids == ids and dict(payload.fingerprint) == table
        if (
            not is_same
            or dict(cube.header.parameters) != parameters
            or cube.header.type is not wanted
            or cube.header.parents
        ):
            continue
        if cube.id not in kv.shelf.damaged:
            return cube
        discard(kv, cube, "kv: damaged, built anew")
    return None
