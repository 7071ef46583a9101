"""Keep the tokens that were important again and again in the recent past."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, LayerView, Policy, is_newest
from engramos.errors import ConfigError

PIVOTAL = "scissorhands.pivotal"
"""Note: for how many of the recent queries a token was pivotal."""


@dataclass(frozen=True, slots=True)
class Scissorhands(Policy):
    """A token is pivotal for a query that gives it more than the even share of attention; what seldom is goes first.

    Source: Scissorhands, https://arxiv.org/abs/2305.17118, algorithm 2 (persistence of importance).
    Differs: the past fades with every query in place of ending at a history window, so that one number a token is
    enough; the attention of a group of query heads is averaged; as many tokens go as are over the budget, where the
    paper drops half of a full buffer at once; every layer has the same budget.
    """

    history: int = 400
    """Queries after which a pivotal moment counts 1/e; 1 or more. The paper's history window."""
    recent: int = 10
    """Newest tokens that always stay; 0 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ConfigError(f"history is {self.history}: give 1 or more queries")
        if self.recent < 0:
            raise ConfigError(f"recent is {self.recent}: give 0 or more tokens")

    def observe(self, view: LayerView) -> None:
        """Let the past fade by the number of these queries, and add those that a token was pivotal for."""
        note = view.note(PIVOTAL)
        note.mul_(self._faded(view.query_positions.shape[0])).add_(self._pivotal(view))

    def score(self, view: LayerView) -> Tensor:
        """Return for how many recent queries each token was pivotal; of those at hand where nothing was observed."""
        scores = view.notes[PIVOTAL].clone() if PIVOTAL in view.notes else self._pivotal(view)
        return scores.masked_fill(is_newest(view, self.recent), PROTECTED)

    def _faded(self, queries: int | Tensor) -> Tensor:
        return torch.exp(-torch.as_tensor(queries, dtype=torch.float32) / self.history)

    def _pivotal(self, view: LayerView) -> Tensor:
        if not view.queries.shape[1]:
            return torch.zeros(view.positions.shape, device=view.keys.device)
        attention = view.attention().mean(dim=1)
        visible = (view.positions[:, None, :] <= view.query_positions[None, :, None]) & (view.positions[:, None] >= 0)
        is_pivotal = attention * visible.sum(dim=-1, keepdim=True) > 1.0
        num = view.query_positions.shape[0]
        weights = self._faded(torch.arange(num - 1, -1, -1)).to(attention.device)
        return (is_pivotal * weights[None, :, None]).sum(dim=1)
