"""Give a layer the more, the more its attention is spread and the more it moves; keep tokens whose attention moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.policies._counts import layer_counts
from engramos.activation.policies._newest import window_of
from engramos.activation.policies._parameters import check_least, check_odd, check_share
from engramos.activation.policies._votes import keep_newest, mean_attention, pooled
from engramos.activation.policies.base import LayerView, Policy, is_newest


@dataclass(frozen=True, slots=True)
class Cake(Policy):
    """Layer budgets by the entropy and variance of the window's attention; scores are its mean plus its variance.

    Source: CAKE, https://arxiv.org/abs/2503.12491, sections 4.1 (preference: entropy^(1/tau1) * variance^(1/tau2)) and
    4.3 (indicator: mean + gamma * variance).
    Differs: budgets are set once, when all layers are known; the paper's cascade comes to the same budgets layer by
    layer, to hold less on the way. Every layer has a least budget.
    """

    window: int = 32
    """Newest queries that vote, and tokens that always stay; 1 or more."""
    kernel: int = 5
    """Neighbouring tokens whose scores are averaged; odd, 1 for none."""
    gamma: float = 200.0
    """The weight of the variance beside the mean; 0 or more."""
    entropy_temperature: float = 1.0
    """Tau1: the greater, the less entropy counts; above 0."""
    variance_temperature: float = 1.0
    """Tau2: the greater, the less variance counts; above 0."""
    floor_share: float = 0.1
    """The share of the mean budget that every layer gets, in (0, 1]."""

    def __post_init__(self) -> None:
        check_least(1, window=self.window)
        check_least(0, gamma=self.gamma)
        check_least(1e-3, entropy_temperature=self.entropy_temperature, variance_temperature=self.variance_temperature)
        check_odd(kernel=self.kernel)
        check_share(floor_share=self.floor_share)

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def score(self, view: LayerView) -> Tensor:
        """Return the mean of each token's attention and `gamma` times its variance over the window's queries."""
        window = window_of(view, self.window)
        indicator = mean_attention(view, window) + self.gamma * _variance(view, window)
        indicator = pooled(indicator.masked_fill(is_newest(view, window)[:, None], 0.0), self.kernel)
        return keep_newest(indicator.mean(dim=1), view, window)

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the layer's preference, the same for all heads."""
        window = window_of(view, self.window)
        mean = mean_attention(view, window)
        entropy = float(torch.special.entr(mean).sum(dim=-1).mean())
        variance = float(_variance(view, window).sum(dim=-1).mean())
        preference = max(0.0, entropy) ** (1 / self.entropy_temperature) * variance ** (1 / self.variance_temperature)
        return torch.full((view.kv_heads,), preference)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return the budget in proportion to the layers' preferences."""
        return layer_counts(scores, demands, num_tokens, floor_share=self.floor_share)


def _variance(view: LayerView, window: int) -> Tensor:
    """Return the variance of each token's attention over the newest queries, 0 for one: (kv_heads, groups, tokens)."""
    weights = view.attention(window)
    if weights.shape[2] < 2:
        return torch.zeros_like(weights[:, :, :1]).sum(dim=2)
    return weights.var(dim=2, correction=0)
