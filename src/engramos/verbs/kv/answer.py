"""answer: what the model says to a prompt, with all that is stored of the prompt left unread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engramos.activation.fusion import ROLE as FUSION
from engramos.engines.base import Piece, Sampling
from engramos.errors import (
    ArchiveError,
    BlobError,
    ContextLengthError,
    CorruptPayloadError,
    CubeNotFoundError,
    InvalidInputError,
    ModelError,
    ModelMismatchError,
    QuotaExceededError,
    StoreError,
    UnsupportedError,
)
from engramos.verbs.kv._parts import KVParts, Prompt, memory_errors, timed
from engramos.verbs.kv._payload import Making, attached, parameters_of
from engramos.verbs.kv._store import store
from engramos.verbs.kv.build import stored
from engramos.verbs.kv.fuse import fuse
from engramos.verbs.kv.lookup import lookup

DAMAGE = (CorruptPayloadError, ArchiveError, BlobError)
"""A blob that is damaged or gone: its cube is reported, and not asked again."""
PASSING = (ModelError, ModelMismatchError, UnsupportedError, CubeNotFoundError)
"""Other reasons to read the prompt instead."""
NOT_STORED = (BlobError, StoreError, QuotaExceededError, ModelError, InvalidInputError)


@dataclass(slots=True, eq=False)
class Answer:
    """An answer while it is produced: iterate over it for its pieces, in this order, once."""

    token_ids: tuple[int, ...]
    """Of the prompt."""
    cached_tokens: int
    """Tokens of the prompt that were not read again."""
    cube_id: str | None
    """The KV cube that they came from."""
    notes: list[str]
    """What went otherwise than asked: a cube that was not used, a cube that could not be stored, approximate reuse."""
    prefill_s: float
    """Seconds from the look-up to the first token's scores."""
    cache: Any
    """Of the engine; it grows with the answer."""
    pieces: Iterator[Piece]
    stored_id: str | None = None
    """The KV cube that was made of the prompt."""
    text: str = ""
    """What was produced so far."""
    produced: list[int] = field(default_factory=list)
    reason: str | None = None
    """Why it ended."""

    def __iter__(self) -> Iterator[Piece]:
        for piece in self.pieces:
            self.text += piece.text
            self.produced += piece.token_ids
            self.reason = piece.reason
            yield piece

    def finish(self) -> "Answer":
        """Produce all that is left, and return the answer."""
        for _ in self:
            pass
        return self


def answer(
    kv: KVParts,
    prompt: Prompt,
    sampling: Sampling | None = None,
    *,
    uses_kv: bool = True,
    stores: bool = False,
    pieces: Sequence[str] = (),
    fusion: str = "blend",
    cache: Any = None,
    adapters: Sequence[Any] = (),
) -> Answer:
    """Attach the longest stored prefix of a prompt, read the rest, and return the answer as it is produced.

    A stored cube that is damaged, gone, stale or of another model is never used: the prompt is read instead, and the
    notes say so.

    Args:
        kv: of the open memory.
        prompt: a text, messages, or token ids.
        sampling: how tokens are chosen.
        uses_kv: whether to look for stored cubes.
        stores: whether to keep the prompt as a KV cube; where that fails, the answer comes all the same.
        pieces: KV cubes that stand before the prompt in this order, wherever they were encoded.
        fusion: what is computed again of them where no stored prefix has them in this order.
        cache: of the engine, that has read the first tokens of the prompt; it is used up.
        adapters: that act on this answer. What stands before their invocation is the base model's, so that stored cubes
            serve it; a prompt that adapters have read is not stored.

    Raises:
        InvalidInputError: if the prompt holds no tokens, or an adapter does not fit.
        ContextLengthError: if it does not fit the model's window.
        ModelError: if no memory is left for the prompt itself.
        CubeNotFoundError, ModelMismatchError, UnsupportedError, UnknownMethodError, ConfigError: for pieces, as `fuse`.
    """
    token_ids, notes = kv.tokens_of(prompt), []
    sampling = sampling or Sampling()
    FUSION.parse(fusion)
    if len(token_ids) > kv.engine.max_tokens:
        raise ContextLengthError(len(token_ids), kv.engine.max_tokens)

    def begin() -> tuple[Any, str | None, list[int], Any]:
        usable = token_ids[: _num_plain(token_ids, adapters)]
        started, cube_id, read = _begun(kv, usable, notes, uses_kv, pieces, fusion, cache)
        whole = [*read, *token_ids[len(usable) :]]
        if adapters:
            kv.engine.adapt(started, adapters)
        with memory_errors(f"reading {len(whole) - started.num_tokens} tokens"):
            num = started.num_tokens
            return started, cube_id, whole, (num, kv.engine.prefill(whole[num:], started))

    (started, cube_id, whole, (num_cached, scores)), prefill_s = timed(begin)
    stored_id = _stored(kv, started, prefill_s, notes) if stores and not pieces and not adapters else None
    produced = kv.engine.generate(scores, started, sampling)
    return Answer(tuple(whole), num_cached, cube_id, notes, prefill_s, started, produced, stored_id)


def _begun(
    kv: KVParts,
    token_ids: list[int],
    notes: list[str],
    uses_kv: bool,
    pieces: Sequence[str],
    fusion: str,
    cache: Any,
) -> tuple[Any, str | None, list[int]]:
    """Return a cache that has read the beginning, the cube that it came from, and the tokens of the whole prompt."""
    if pieces:
        fused = fuse(kv, pieces, fusion=fusion)
        notes += fused.notes
        whole = [*fused.token_ids, *token_ids]
        if len(whole) > kv.engine.max_tokens:
            raise ContextLengthError(len(whole), kv.engine.max_tokens)
        return fused.cache, fused.cube_id, whole
    if uses_kv and token_ids:
        least = 0 if cache is None else cache.num_tokens
        found = begun(kv, token_ids, notes, least)
        if found is not None:
            return *found, token_ids
    return kv.engine.new_cache() if cache is None else cache, None, token_ids


def _num_plain(token_ids: Sequence[int], adapters: Sequence[Any]) -> int:
    """Return how many tokens are read as the base model reads them."""
    if not adapters:
        return len(token_ids)
    from engramos.parametric.adapter import starts_at  # torch is there where adapters are

    return min(starts_at(one.invocation, token_ids) for one in adapters)


def begun(kv: KVParts, token_ids: Sequence[int], notes: list[str], least: int = 0) -> tuple[Any, str] | None:
    """Return a cache with the longest stored prefix, longer than `least` tokens, and its cube; None where none is."""
    while (match := lookup(kv, token_ids)) is not None:
        # the last token is read again: the scores after it are stored nowhere
        num = min(match.num_tokens, len(token_ids) - 1)
        cube = kv.shelf.cubes.get(match.cube_id)
        if num <= least or cube is None:
            return None
        try:
            return attached(kv, cube, num), cube.id
        except DAMAGE as error:
            kv.shelf.report_damaged(cube.id, str(error))
            notes.append(f"KV cube {cube.id} was not used: {error}")
        except PASSING as error:
            notes.append(f"KV cube {cube.id} was not used: {error}")
            return None
    return None


def _stored(kv: KVParts, cache: Any, prefill_s: float, notes: list[str]) -> str | None:
    if (known := stored(kv, list(cache.token_ids), parameters_of(kv.codec, None))) is not None:
        return known.id
    try:
        cube, _ = store(kv, kv.engine.detach(cache), Making(kv.codec, prefill_s, method="kv_answer"))
    except (*NOT_STORED, UnsupportedError) as error:
        notes.append(f"the prompt was not stored: {error}")
        return None
    return cube.id
