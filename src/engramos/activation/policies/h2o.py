"""Keep the heavy hitters: tokens that received the most attention so far."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._newest import best_and_newest
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy
from engramos.errors import ConfigError

RECEIVED, SEEN_BY = "h2o.received", "h2o.seen_by"
"""Notes: the sum of the attention that a token received, and the number of queries that could see it."""


@dataclass(frozen=True, slots=True)
class H2O(Policy):
    """What received the most attention from all queries so far stays; a share of the budget may go to the newest.

    Source: H2O, https://arxiv.org/abs/2306.14048, algorithm 1.
    Differs: the sum is divided by the number of queries that could see the token, so that old tokens have no head
    start, and the newest tokens get no share; `is_averaged=False, recent_share=0.5` is the paper's form.
    """

    recent_share: float = 0.0
    """Share of the budget for the newest tokens, in [0, 1]."""
    is_averaged: bool = True
    """Whether the mean over the queries that could see the token counts, and not the sum."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.recent_share <= 1.0:
            raise ConfigError(f"recent_share is {self.recent_share}: give a number from 0 to 1")

    def observe(self, view: LayerView) -> None:
        """Add the attention of these queries to what each token received."""
        received, seen_by = _received(view)
        view.note(RECEIVED).add_(received)
        view.note(SEEN_BY).add_(seen_by)

    def score(self, view: LayerView) -> Tensor:
        """Return the mean or the sum of the attention received; of the queries at hand where nothing was observed."""
        if RECEIVED in view.notes:
            received, seen_by = view.notes[RECEIVED], view.notes[SEEN_BY]
        else:
            received, seen_by = _received(view)
        return received / seen_by.clamp(min=1) if self.is_averaged else received.clone()

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of the newest tokens and of the heavy hitters."""
        return [best_and_newest(row, int(count), self.recent_share) for row, count in zip(scores, counts, strict=True)]


def _received(view: LayerView) -> tuple[Tensor, Tensor]:
    """Return the attention that each token received from the queries at hand, and how many of them could see it."""
    if not view.queries.shape[1]:
        return torch.zeros(2, *view.positions.shape, device=view.keys.device).unbind()
    received = view.attention().sum(dim=2).mean(dim=1)
    earlier = torch.searchsorted(view.query_positions.contiguous(), view.positions.contiguous())
    seen_by = view.query_positions.shape[0] - earlier
    return received, seen_by.masked_fill(view.positions < 0, 0).float()
