"""Pieces that were encoded apart, fused: passkeys found, divergence from a full prefill, and CPU time."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.activation.fusion.blend import Blend
from engramos.activation.fusion.concat import Concat
from engramos.activation.fusion.first_tokens import FirstTokens
from engramos.activation.fusion.rerotate import Rerotate
from engramos.engines._cache import MemoryCache
from engramos.engines._fuse import divergence_of, encode_piece, fuse
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError

NUM_PIECES = 6
PIECE_TOKENS = 160
FULL, NONE = "full", "none"
WAYS: dict[str, Fusion] = {
    "concat": Concat(),
    "rerotate": Rerotate(),
    "first8": FirstTokens(8),
    "blend5": Blend(0.05),
    "blend15": Blend(0.15),
    "blend30": Blend(0.30),
}
"""The ways of fusing that are compared, by their key in the table."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A book's text in pieces, one of which tells a pass key."""

    pieces: tuple[tuple[int, ...], ...]
    """Tokens of each piece."""
    question: tuple[int, ...]
    """It follows on the pieces."""
    answer: tuple[int, ...]
    """The digits."""
    following: tuple[int, ...]
    """The text that follows on the pieces in the book."""

    @property
    def token_ids(self) -> list[int]:
        """All tokens of the pieces."""
        return [token for piece in self.pieces for token in piece]


def sample_of(engine: Transformers, text: str, number: int, seed: int) -> Sample:
    """Return a sample whose pass key is told somewhere in the middle of one of its pieces.

    Args:
        engine: whose tokens are counted.
        text: at least some 1,100 tokens long.
        number: of the sample; it moves the place of the pass key from one to the next.
        seed: of the digits and the place.

    Raises:
        InvalidInputError: if the text is too short.
    """
    source = random.Random(seed * 1_000 + number)
    key = f"{source.randrange(10_000, 100_000)}"
    needle = engine.tokens(f"\nThe pass key is {key}. Remember it. {key} is the pass key.\n")
    tokens = engine.tokens(text)
    if len(tokens) < NUM_PIECES * PIECE_TOKENS + 64:
        raise InvalidInputError(f"a text of {len(tokens)} tokens is too short for {NUM_PIECES} pieces: give more of it")
    holder, pieces, at = number % NUM_PIECES, [], 0
    for piece in range(NUM_PIECES):
        own = tokens[at : at + PIECE_TOKENS - (len(needle) if piece == holder else 0)]
        at += len(own)
        if piece == holder:
            place = _sentence_end(engine, own, source.randrange(PIECE_TOKENS // 4, PIECE_TOKENS // 2))
            own = own[:place] + needle + own[place:]
        pieces.append(tuple(own))
    question = engine.tokens("\nWhat is the pass key? The pass key is")
    answer = engine.tokens(f" {key}.")
    return Sample(tuple(pieces), tuple(question), tuple(answer[:-1]), tuple(tokens[at : at + 64]))


def _sentence_end(engine: Transformers, tokens: Sequence[int], start: int) -> int:
    """Return the first place after a sentence, from `start` on; `start` where none ends."""
    ends = (place for place in range(start, len(tokens)) if engine.text(tokens[place - 1 : place]).endswith((".", "!")))
    return next(ends, start)


@dataclass(slots=True)
class _Found:
    """What one way did with one sample."""

    passkey: float
    kl: float
    kl_text: float
    cpu_s: float


def fused_table(engine: Transformers, samples: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """Return for each way: `passkey`, `kl`, `kl_text` and `cpu_ratio`, each the mean over samples.

    `passkey` is the share of samples with all digits right, each the likeliest after the right ones before it. `kl` is
    that of the digits' distributions from those of the full prefill, and `kl_text` that of 64 tokens of the book that
    follow. `cpu_ratio` is the CPU time until a question can be asked, by that of the full prefill; encoding the pieces
    is not in it, for they are stored.

    Args:
        engine: with the model.
        samples: texts of some 1,100 tokens or more, one a sample.
        seed: of the pass keys.

    Raises:
        ConfigError: if there are no samples.
        InvalidInputError: if a text is too short.
    """
    if not samples:
        raise ConfigError("there are no samples: give 1 or more texts")
    found: dict[str, list[_Found]] = {name: [] for name in (FULL, NONE, *WAYS)}
    for number, text in enumerate(samples):
        for name, one in _compared(engine, sample_of(engine, text, number, seed)).items():
            found[name].append(one)
    full_s = fmean(one.cpu_s for one in found[FULL])
    return {
        name: {
            "passkey": fmean(one.passkey for one in each),
            "kl": fmean(one.kl for one in each),
            "kl_text": fmean(one.kl_text for one in each),
            "cpu_ratio": fmean(one.cpu_s for one in each) / full_s,
        }
        for name, each in found.items()
    }


def _compared(engine: Transformers, sample: Sample) -> dict[str, _Found]:
    """Return what each way did with one sample."""
    pieces = [encode_piece(engine, ids) for ids in sample.pieces]

    def read_all() -> MemoryCache:
        cache = engine.new_cache()
        engine.prefill(sample.token_ids, cache)
        return cache

    ways: dict[str, Callable[[], MemoryCache]] = {FULL: read_all, NONE: engine.new_cache}
    for name, fusion in WAYS.items():
        ways[name] = lambda fusion=fusion: fuse(engine, pieces, sample.pieces, fusion)
    out: dict[str, _Found] = {}
    wanted: list[Tensor] = []
    for name, way in ways.items():
        start = time.process_time()
        cache = way()
        cpu_s = time.process_time() - start
        digits = engine.log_probabilities([*sample.question, *sample.answer], cache.copy())
        digits = digits[len(sample.question) - 1 : -1]
        following = engine.log_probabilities(sample.following, cache)
        if not wanted:
            wanted = [digits, following]
        is_right = digits.argmax(-1).tolist() == list(sample.answer)
        kl, kl_text = (divergence_of(one, other) for one, other in zip(wanted, (digits, following), strict=True))
        out[name] = _Found(float(is_right), kl, kl_text, cpu_s)
    return out
