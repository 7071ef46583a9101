"""What is learnt from a lesson as rows, and how likely a model with an adapter makes their answers."""

from collections.abc import Sequence

from torch import Tensor

from engramos.errors import UnsupportedError
from engramos.parametric.adapter import starts_at
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Row, batch_of, device_of, pieces, rows_of, told
from engramos.parametric.training.chunked_loss import token_log_probabilities

PIECE_TOKENS = 128
"""Of a text that are read as one row, at most."""


def fact_rows(lesson: Lesson, base: BaseModel, *, with_end: bool) -> list[Row]:
    """Return every question of every fact in the chat template, and every cloze as plain text.

    Args:
        lesson: whose facts are asked.
        base: the model.
        with_end: whether the token that ends an answer belongs to the answers in the chat template.
    """
    return rows_of(base, lesson.facts, with_end=with_end, with_clozes=True)


def text_rows(texts: Sequence[str], base: BaseModel) -> list[Row]:
    """Return texts in pieces, all but the first token of each in the loss; pieces of one token are left out."""
    return [row for text in texts for row in pieces(base.tokens(text), PIECE_TOKENS)]


def reached(rows: Sequence[Row], adapter: LowRank) -> list[Row]:
    """Return the rows on whose answer an adapter acts: all of them where it has no invocation."""
    wanted = adapter.invocation
    return [row for row in rows if not wanted or starts_at(wanted, row.prompt) < len(row.prompt)]


def answer_states(rows: Sequence[Row], base: BaseModel, adapter: LowRank | None) -> tuple[Tensor, Tensor]:
    """Return the hidden states from which the answers' tokens are told, and those tokens, row after row.

    Args:
        rows: 1 or more, read in one batch.
        base: the model.
        adapter: acts from its invocation on; None for the base model alone.

    Returns:
        (positions, hidden) and (positions,) int64.
    """
    batch = batch_of(rows, device_of(base), () if adapter is None else adapter.invocation)
    with base.using(adapter, batch.active if adapter is not None and adapter.invocation else None):
        hidden = base.run(base.embedded(batch.ids))
    return told(hidden, rows), batch.wanted


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
