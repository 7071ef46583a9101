"""Let the heads of a layer compete for its budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engramos.activation.policies._around import Around, policy_of
from engramos.activation.policies.base import Policy
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AdaKV(Around):
    """The best tokens of all heads of a layer together stay; every head is sure of a part of an even share.

    Source: Ada-KV, https://arxiv.org/abs/2407.11550, algorithm 1.
    Differs: what a layer has is the inner policy's word, so that layer budgets and head budgets combine.
    """

    inner: str = "snapkv"
    """The policy that scores, whose scores must compare between heads: a name, or `{ method = "NAME", ... }`."""
    floor: float = 0.2
    """What a head is sure of, as a part of the layer's mean, in [0, 1]."""
    _policy: Policy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor <= 1.0:
            raise ConfigError(f"floor is {self.floor}: give a number from 0 to 1")
        object.__setattr__(self, "_policy", policy_of(self.inner))

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return how many of each head are among the best of its layer."""
        totals = self._policy.allot(scores, demands, num_tokens).sum(dim=1).tolist()
        return torch.stack([self._shares(layer, int(total)) for layer, total in zip(scores, totals, strict=True)])

    def _shares(self, scores: Tensor, total: int) -> Tensor:
        """Return the shares of one layer's heads, (kv_heads,); `total` is what they have together."""
        kv_heads = scores.shape[0]
        sure = max(1, int(total // kv_heads * self.floor))
        ranked = scores.sort(dim=-1, descending=True, stable=True).values
        ranked[:, :sure] = ranked[:, :sure].masked_fill(ranked[:, :sure] > float("-inf"), float("inf"))
        # rank by rank, so that of equal scores no head takes all
        pooled = ranked.T.flatten()
        chosen = pooled.argsort(descending=True, stable=True)[:total]
        chosen = chosen[pooled[chosen] > float("-inf")]
        return torch.bincount(chosen % kv_heads, minlength=kv_heads).cpu().clamp(min=1)
