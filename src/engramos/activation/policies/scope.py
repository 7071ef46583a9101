"""Prompt and answer apart: what the prompt kept stays, heavy hitters are chosen among produced tokens alone."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._parameters import check_least, check_odd
from engramos.activation.policies._votes import NEWEST, keep_newest, window_votes
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy

RECEIVED = "scope_received"
"""The note of the attention that a token received while tokens were produced."""


@dataclass(frozen=True, slots=True)
class Scope(Policy):
    """SnapKV at the end of the prompt; later a window of newest tokens and the heavy hitters of the answer.

    Source: SCOPE, https://arxiv.org/abs/2412.13649, section 3, with its strategy `slide`.
    Differs: without the strategies `adaptive` and `discontinuous`, which save time, not tokens. The decode budget
    counts the prompt's tokens too: give it more than the prefill's, or nothing of the answer can stay but its newest
    token.
    """

    window: int = 32
    """Newest queries of the prompt that vote, and its tokens that always stay; 1 or more."""
    kernel: int = 5
    """Neighbouring tokens whose votes are averaged; odd, 1 for none."""
    recent: int = 256
    """Newest produced tokens that stay; at most half of those that are there; 1 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(1, window=self.window, recent=self.recent)
        check_odd(kernel=self.kernel)

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def observe(self, view: LayerView) -> None:
        """Add the attention that each token receives while tokens are produced."""
        if view.phase == DECODE:
            view.notes[RECEIVED] = view.note(RECEIVED) + view.attention().sum(dim=2).mean(dim=1)

    def score(self, view: LayerView) -> Tensor:
        """Return the votes at the end of the prompt; later the attention received by produced tokens."""
        if view.phase != DECODE:
            return window_votes(view, self.window, self.kernel)
        is_prompt = (view.positions >= 0) & (view.positions < view.prompt_tokens)
        produced = int(((view.positions >= 0) & ~is_prompt).sum(dim=-1).max())
        scores = keep_newest(view.note(RECEIVED), view, min(self.recent, max(1, produced // 2)))
        scores = torch.where(is_prompt, 2 * NEWEST, scores)
        return torch.where(view.positions == view.positions.max(), 3 * NEWEST, scores)
