"""Losses over hidden states, chunk by chunk, so that scores of all positions never exist at once.

Scores of one position are as many as the vocabulary has tokens: for short adapters they, and not the activations, are
most of a training step's memory. Here each chunk's scores are made, reduced, dropped, and made again for the gradients.

Call `backward` within the same `BaseModel.using` as the forward pass: the scores are made a second time there.

Source: gradient checkpointing, https://arxiv.org/abs/1604.06174, over the positions of the last module.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from engramos.errors import ConfigError, InvalidInputError

Scores = Callable[[Tensor], Tensor]
"""From hidden states, (positions, hidden), to scores, (positions, vocabulary): such as `BaseModel.scores`."""
TeacherScores = Callable[[int, int], Tensor]
"""From the first position and the one after the last to the teacher's scores, (positions, vocabulary).

For example `lambda first, last: base.scores(teacher_hidden[first:last])`: so those do not exist at once either.
"""
CHUNK = 128
"""Positions whose scores exist together."""


def token_log_probabilities(scores: Scores, hidden: Tensor, tokens: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Return the log-probability of each position's next token.

    Args:
        scores: of hidden states.
        hidden: of the positions whose next token counts, and of no others: (positions, hidden).
        tokens: what comes next: (positions,) int64.
        chunk: positions a chunk, 1 or more.

    Returns:
        (positions,) float32, differentiable with respect to `hidden` and what `scores` holds.

    Raises:
        ConfigError: if `chunk` is below 1.
        InvalidInputError: if shapes do not fit, or there are no positions.
    """
    _check(hidden, chunk)
    if tokens.shape != hidden.shape[:1]:
        raise InvalidInputError(f"tokens have shape {tuple(tokens.shape)}: give 1 for each of {len(hidden)} positions")
    parts = (hidden.split(chunk), tokens.split(chunk))
    return torch.cat([_kept_small(_chosen, scores, one, wanted) for one, wanted in zip(*parts, strict=True)])


def cross_entropy(scores: Scores, hidden: Tensor, tokens: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Return the mean cross entropy of the next tokens, in nats; see `token_log_probabilities`."""
    return -token_log_probabilities(scores, hidden, tokens, chunk=chunk).mean()


def divergence(scores: Scores, hidden: Tensor, teacher: TeacherScores, *, chunk: int = CHUNK) -> Tensor:
    """Return the mean Kullback-Leibler divergence of the model from its teacher, KL(teacher || model), in nats.

    Args:
        scores: of hidden states.
        hidden: of the positions that are compared: (positions, hidden).
        teacher: makes the teacher's scores of a range of the same positions; asked without gradients, twice a chunk.
        chunk: positions a chunk, 1 or more.

    Returns:
        One number, differentiable with respect to `hidden` and what `scores` holds.

    Raises:
        ConfigError: if `chunk` is below 1.
        InvalidInputError: if shapes do not fit, or there are no positions.
    """
    _check(hidden, chunk)
    total = hidden.new_zeros(())
    for first in range(0, len(hidden), chunk):
        one = hidden[first : first + chunk]
        total = total + _kept_small(_divergence, scores, one, teacher, first)
    return total / len(hidden)


def _kept_small(compute: Callable[..., Tensor], *arguments: object) -> Tensor:
    """Return what a function computes; for the gradients it computes it again."""
    return checkpoint(compute, *arguments, use_reentrant=False, preserve_rng_state=False)


def _chosen(scores: Scores, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probability of one token a position."""
    return -functional.cross_entropy(scores(hidden).float(), tokens, reduction="none")


def _divergence(scores: Scores, hidden: Tensor, teacher: TeacherScores, first: int) -> Tensor:
    """Return the sum of the divergences of a chunk's positions."""
    with torch.no_grad():
        wanted = teacher(first, first + len(hidden))
    found = scores(hidden)
    if wanted.shape != found.shape:
        shapes = f"{tuple(wanted.shape)} from the teacher, {tuple(found.shape)} from the model"
        raise InvalidInputError(f"scores have different shapes: {shapes}; ask both for the same positions")
    logs = (one.float().log_softmax(dim=-1) for one in (found, wanted))
    return functional.kl_div(*logs, reduction="sum", log_target=True)


def _check(hidden: Tensor, chunk: int) -> None:
    """Refuse a chunk without positions, and hidden states that are not one row a position."""
    if chunk < 1:
        raise ConfigError(f"chunk is {chunk}: give 1 or more positions")
    if hidden.ndim != 2 or not len(hidden):
        raise InvalidInputError(f"hidden states have shape {tuple(hidden.shape)}: give (positions, hidden), 1 or more")
