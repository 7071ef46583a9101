"""Keep what comes back: a token is dropped when it is silent for longer than it ever was before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._parameters import check_least
from engramos.activation.policies._votes import keep_newest
from engramos.activation.policies.base import DECODE, LayerView, Policy
from engramos.activation.view import PROBE

SEEN, INTERVAL = "lazy_seen", "lazy_interval"
"""Notes: the position after which a token was last important, 0 for never; its maximum recurrence interval."""


@dataclass(frozen=True, slots=True)
class LazyEviction(Policy):
    """First go those whose silence is longest beside the longest silence after which they were important again.

    Source: LazyEviction, https://arxiv.org/abs/2506.15969, section 4: the order by (t - TS) / MRI, eviction each W
    steps only, the newest W tokens always kept.
    Differs: to act each W steps only, it drops W tokens more than it must, so that the budget is never exceeded; a
    small budget is halved at most. Recurrence is also noted within the prompt.
    """

    window: int = 32
    """W: newest tokens that stay, and steps from one eviction to the next; 1 or more."""
    threshold: float = 1e-3
    """Alpha: attention above it makes a token important at a step; 0 or more, below 1."""
    acts_in: ClassVar[frozenset[str]] = frozenset({DECODE})
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(1, window=self.window)
        check_least(0, threshold=self.threshold)

    def observe(self, view: LayerView) -> None:
        """Note when each token was last important, and the longest time between two such moments."""
        if view.phase == PROBE:
            return
        weights = view.attention().amax(dim=1)
        asked = view.query_positions.float()[None, :, None] + 1
        times = torch.where(weights > self.threshold, asked, 0.0)
        seen = self._seen(view)
        before = torch.cat((seen[:, None], times), dim=1).cummax(dim=1).values
        gaps = torch.where(times > 0, asked - before[:, :-1], 0.0)
        if times.shape[1]:
            view.notes[INTERVAL] = torch.maximum(view.note(INTERVAL), gaps.amax(dim=1))
        view.notes[SEEN] = before[:, -1]

    def score(self, view: LayerView) -> Tensor:
        """Return how short each token's silence is beside its maximum recurrence interval."""
        now = view.positions.max().float() + 1
        silence = (now - self._seen(view)).clamp(min=0)
        scores = -silence / view.note(INTERVAL).clamp(min=1)
        return keep_newest(scores, view, self.window)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return a budget that is reached again only after a window of further tokens."""
        kept = max(1, num_tokens - self.window, num_tokens // 2)
        return torch.full((len(scores), scores[0].shape[0]), kept, dtype=torch.int64)

    def _seen(self, view: LayerView) -> Tensor:
        """Return the note, in which a token is important when it appears."""
        noted = view.note(SEEN)
        return torch.where(noted > 0, noted, view.positions.float() + 1)
