"""Give a layer the more, the more tokens its attention is spread over."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.policies._counts import layer_counts
from engramos.activation.policies._newest import window_of
from engramos.activation.policies._parameters import check_least, check_odd, check_share
from engramos.activation.policies._votes import mean_attention, window_votes
from engramos.activation.policies.base import LayerView, Policy


@dataclass(frozen=True, slots=True)
class ZigZagKV(Policy):
    """Layer budgets by uncertainty: the least number of tokens that keep most of the window's attention.

    Source: ZigZagKV, https://arxiv.org/abs/2412.09036, section 4; every layer gets a least budget, the rest is shared
    in proportion to LMBA, the mean over heads of that least number.
    Differs: the least budget is a share of the mean one; scores are those of SnapKV with its pooling.
    """

    window: int = 32
    """Newest queries that vote, and tokens that always stay; 1 or more."""
    kernel: int = 5
    """Neighbouring tokens whose votes are averaged; odd, 1 for none."""
    share: float = 0.9
    """The share of attention that must be kept, in (0, 1]."""
    floor_share: float = 0.25
    """The share of the mean budget that every layer gets, in (0, 1]."""

    def __post_init__(self) -> None:
        check_least(1, window=self.window)
        check_odd(kernel=self.kernel)
        check_share(share=self.share, floor_share=self.floor_share)

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def score(self, view: LayerView) -> Tensor:
        """Return the window's votes."""
        return window_votes(view, self.window, self.kernel)

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the mean number of tokens that hold `share` of a head's attention, the same for all heads."""
        weights = mean_attention(view, window_of(view, self.window)).sort(dim=-1, descending=True).values
        needed = self.share * weights.sum(dim=-1, keepdim=True)
        # a sum that reaches the share only to rounding counts as reaching it
        fewer = (weights.double().cumsum(dim=-1) < needed.double() - 1e-6).sum(dim=-1) + 1
        return torch.full((view.kv_heads,), float(fewer.double().mean()))

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return the least budget and a part of the rest for each layer."""
        return layer_counts(scores, demands, num_tokens, floor_share=self.floor_share)
