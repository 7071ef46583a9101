"""Protect sink tokens and tokens with massive activations from any policy."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from engramos.activation.policies._around import Around, policy_of
from engramos.activation.policies.base import PROTECTED, LayerView, Policy, is_first
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SinkGuard(Around):
    """Another policy decides, but the first tokens and those with outlying keys or values always stay.

    Tokens with massive activations draw attention as a fixed bias of the model. In a cache they show as values that
    are far shorter, or keys that are far longer, than the head's median.

    Source: Massive Activations, https://arxiv.org/abs/2402.17762, section 4; StreamingLLM for the sinks.
    Differs: keys and values tell which tokens they are, for a cache has no hidden states.
    """

    inner: str = "keydiff"
    """The policy that decides on the rest: a name, or `{ method = "NAME", ... }`."""
    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    value_ratio: float = 0.3
    """Values shorter than so much of the head's median are outliers; 0 or more, below 1."""
    key_ratio: float = 3.0
    """Keys longer than so many times the head's median are outliers; above 1."""
    max_massive: int = 4
    """Outlying tokens of a head that are protected, at most, the furthest out first; 0 or more."""
    _policy: Policy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("num_sinks", "max_massive"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not 0.0 <= self.value_ratio < 1.0:
            raise ConfigError(f"value_ratio is {self.value_ratio}: give a number from 0 to below 1")
        if not self.key_ratio > 1.0:
            raise ConfigError(f"key_ratio is {self.key_ratio}: give a number above 1")
        object.__setattr__(self, "_policy", policy_of(self.inner))

    def score(self, view: LayerView) -> Tensor:
        """Return the inner policy's scores, with what is guarded protected."""
        return self._policy.score(view).masked_fill(self.guarded(view), PROTECTED)

    def guarded(self, view: LayerView) -> Tensor:
        """Return which tokens are sinks or outliers: (kv_heads, tokens) bool."""
        is_token = view.positions >= 0
        long_keys = _to_median(view.keys, is_token) / self.key_ratio
        short_values = self.value_ratio / _to_median(view.values, is_token).clamp(min=1e-12)
        outlying = torch.maximum(long_keys, short_values).masked_fill(~is_token, 0.0)
        furthest = outlying.argsort(dim=-1, descending=True, stable=True)[:, : self.max_massive]
        is_massive = torch.zeros_like(is_token).scatter_(1, furthest, True) & (outlying > 1.0)
        return is_massive | is_first(view, self.num_sinks)


def _to_median(vectors: Tensor, is_token: Tensor) -> Tensor:
    """Return the length of each vector over the median length of its head."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float32)
    median = lengths.masked_fill(~is_token, float("nan")).nanmedian(dim=-1, keepdim=True).values
    return lengths / median.clamp(min=1e-12)
