"""Rows of tokens out of a lesson, and how likely a model with an adapter makes their ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import UnsupportedError
from engramos.parametric.adapter import starts_at
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.training.chunked_loss import token_log_probabilities

PIECE_TOKENS = 128
"""Of a text that are read as one row, at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a model reads, and what it should go on with: the latter alone is in the loss."""

    prompt: tuple[int, ...]
    """1 token or more."""
    answer: tuple[int, ...]
    """1 token or more."""


def fact_rows(lesson: Lesson, base: BaseModel, *, with_end: bool) -> list[Row]:
    """Return every question of every fact in the chat template, and every cloze as plain text.

    Args:
        lesson: whose facts are asked.
        base: the model.
        with_end: whether the token that ends an answer belongs to the answers in the chat template.
    """
    rows = []
    end = (base.end_token,) if with_end else ()
    for fact in lesson.facts:
        answer = tuple(base.tokens(fact.answer))
        for question in fact.questions:
            prompt = base.chat_tokens([{"role": "user", "content": question}])
            rows.append(Row(tuple(prompt), answer + end))
        if fact.cloze:
            rows.append(Row(tuple(base.tokens(fact.cloze)), tuple(base.tokens(f" {fact.answer}"))))
    return rows


def text_rows(texts: Sequence[str], base: BaseModel) -> list[Row]:
    """Return texts in pieces, all but the first token of each in the loss; pieces of one token are left out."""
    pieces = [
        ids[first : first + PIECE_TOKENS]
        for ids in (base.tokens(text) for text in texts)
        for first in range(0, len(ids), PIECE_TOKENS)
    ]
    return [Row((ids[0],), tuple(ids[1:])) for ids in pieces if len(ids) > 1]


def reached(rows: Sequence[Row], adapter: LowRank) -> list[Row]:
    """Return the rows on whose answer an adapter acts: all of them where it has no invocation."""
    wanted = adapter.invocation
    return [row for row in rows if not wanted or starts_at(wanted, row.prompt) < len(row.prompt)]


def answer_states(rows: Sequence[Row], base: BaseModel, adapter: LowRank | None) -> tuple[Tensor, Tensor]:
    """Return the hidden states from which the answers' tokens are told, and those tokens, row after row.

    Args:
        rows: 1 or more, read in one batch.
        base: the model; it must be using the adapter from `acting` on, where there is one.
        adapter: None for the base model alone.

    Returns:
        (positions, hidden) and (positions,) int64.
    """
    device = base.module(base.head_name).weight.device
    longest = max(len(row.prompt) + len(row.answer) for row in rows)
    # every model has a token 0, and what stands in the padding reaches no other token
    ids = torch.zeros(len(rows), longest, dtype=torch.int64, device=device)
    is_told = torch.zeros(len(rows), longest, dtype=torch.bool, device=device)
    for at, row in enumerate(rows):
        num = len(row.prompt) + len(row.answer)
        ids[at, :num] = torch.tensor([*row.prompt, *row.answer])
        is_told[at, len(row.prompt) - 1 : num - 1] = True
    if adapter is None:
        hidden = base.run(base.embedded(ids))
    else:
        with base.using(adapter, acting(rows, adapter, ids)):
            hidden = base.run(base.embedded(ids))
    return hidden[is_told], ids.roll(-1, dims=1)[is_told]


def acting(rows: Sequence[Row], adapter: LowRank, ids: Tensor) -> Tensor | None:
    """Return on which tokens an adapter acts, (rows, tokens) bool; None for all of them."""
    if not adapter.invocation:
        return None
    first = torch.tensor([starts_at(adapter.invocation, row.prompt) for row in rows], device=ids.device)
    return torch.arange(ids.shape[1], device=ids.device) >= first[:, None]


def answer_log_probabilities(rows: Sequence[Row], base: BaseModel, adapter: LowRank | None) -> list[Tensor]:
    """Return the log-probabilities of each row's answer tokens: (answer,) float32 for each row.

    They are differentiable with respect to the adapter's tensors, outside of `BaseModel.using` too.
    """
    hidden, tokens = answer_states(rows, base, adapter)
    return list(token_log_probabilities(base.scores, hidden, tokens).split([len(row.answer) for row in rows]))


def check_carried(adapter: LowRank, base: BaseModel) -> None:
    """Refuse an adapter on the module that makes scores: those are made anew, chunk by chunk, where none is attached.

    Raises:
        UnsupportedError: if it is one.
    """
    if base.head_name in adapter.targets:
        raise UnsupportedError(f"the adapter acts on {base.head_name!r}: write one on other modules")


def trainable(adapter: LowRank) -> LowRank:
    """Return a copy of an adapter whose tensors ask for gradients."""
    down = {name: one.detach().clone().requires_grad_() for name, one in adapter.down.items()}
    up = {name: one.detach().clone().requires_grad_() for name, one in adapter.up.items()}
    return LowRank(down, up, adapter.scale, adapter.invocation)
