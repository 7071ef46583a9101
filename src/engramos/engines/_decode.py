"""Producing an answer: choosing tokens, text as it becomes whole, and when to stop."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from engramos.engines.base import Piece, Sampling

_UNFINISHED = "\ufffd"
"""What a tokenizer shows for a letter whose bytes are not all there yet."""


def answer(engine: Any, scores: Tensor, cache: Any, sampling: Sampling, ends: Collection[int]) -> Iterator[Piece]:
    """Yield an answer piece by piece.

    Args:
        engine: reads each produced token by `step`, and turns tokens into text.
        scores: of the first token: (vocabulary,).
        cache: grows by each token that is followed by another.
        sampling: how tokens are chosen, and when it ends.
        ends: tokens that end it.
    """
    source = torch.Generator(device="cpu").manual_seed(sampling.seed)
    produced: list[int] = []
    shown, told = 0, 0
    while True:
        token = chosen(scores, sampling, source)
        reason = None
        if token in ends:
            reason = "end"
        else:
            produced.append(token)
        text = engine.text(produced)
        cut = min((at for stop in sampling.stop if (at := text.find(stop)) >= 0), default=None)
        if cut is not None:
            text, reason = text[:cut], "stop"
        elif reason is None and len(produced) == sampling.max_tokens:
            reason = "max_tokens"
        elif reason is None and cache.next_position >= engine.max_tokens and not cache.is_endless:
            reason = "window"
        until = len(text) if reason else shown + len(held_back(text[shown:], sampling.stop))
        yield Piece(text[shown:until], tuple(produced[told:]), reason)
        shown, told = max(shown, until), len(produced)
        if reason:
            return
        scores = engine.step(token, cache)


def held_back(text: str, stops: Collection[str]) -> str:
    """Return the part of a text that may be shown: no unfinished letter, no beginning of a stop text at its end."""
    text = text.rstrip(_UNFINISHED)
    longest = max(
        (size for stop in stops for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size])),
        default=0,
    )
    return text[: len(text) - longest]


def chosen(scores: Tensor, sampling: Sampling, source: torch.Generator) -> int:
    """Return the next token.

    Args:
        scores: (vocabulary,).
        sampling: its temperature and top_p.
        source: of the draws.
    """
    if sampling.temperature == 0.0:
        return int(scores.argmax())
    weights = torch.softmax(scores.float().cpu() / sampling.temperature, dim=-1)
    if sampling.top_p < 1.0:
        ordered, places = weights.sort(descending=True)
        is_kept = ordered.cumsum(0) - ordered < sampling.top_p
        weights = torch.zeros_like(weights).scatter(0, places[is_kept], ordered[is_kept])
    return int(torch.multinomial(weights, 1, generator=source))
