"""Keep much in the first layers and little in the last; within a layer what the end of the prompt looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.policies.base import LayerView, Policy
from engramos.activation.policies.snapkv import window_votes
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PyramidKV(Policy):
    """Layer budgets fall evenly from the first layer to the last; scores are those of SnapKV.

    Source: PyramidKV, https://arxiv.org/abs/2406.02069, section 4.
    Differs: the mean of the layer budgets is the budget, window included; where the last layer's would be smaller
    than the window, or the first layer's larger than the prompt allows, all layers get the same.
    """

    window: int = 64
    """Newest queries that vote, and tokens that always stay; 1 or more."""
    kernel: int = 5
    """Neighbouring tokens whose votes are averaged; odd, 1 for none."""
    beta: int = 20
    """The last layer gets a part of the mean budget: one in so many; 1 or more."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window is {self.window}: give 1 or more queries")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}: give an odd number, 1 or more")
        if self.beta < 1:
            raise ConfigError(f"beta is {self.beta}: give 1 or more")

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def score(self, view: LayerView) -> Tensor:
        """Return the smoothed votes of the window."""
        return window_votes(view, self.window, self.kernel)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return a share for each layer, the same for all its heads."""
        num_layers, kv_heads = len(scores), scores[0].shape[0]
        longest = max(int((layer > float("-inf")).sum(dim=-1).max()) for layer in scores)
        least, most = num_tokens / self.beta, num_tokens * 2 - num_tokens / self.beta
        if most >= longest - self.window:
            most = longest - self.window
            least = num_tokens * 2 - most
        # a kept ratio was rounded down to whole tokens, which takes up to two from the least share
        if not longest >= most >= least > self.window - 2:
            least = most = num_tokens
        step = (most - least) / max(num_layers - 1, 1)
        shares = [round(most - layer * step) for layer in range(num_layers)] if num_layers > 1 else [num_tokens]
        while sum(shares) > num_tokens * num_layers:
            shares[shares.index(max(shares))] -= 1
        return torch.tensor(shares, dtype=torch.int64)[:, None].repeat(1, kv_heads)
