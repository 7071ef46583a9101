"""Keep what the queries to come are expected to look at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.policies.base import PROTECTED, LayerView, Policy, is_first
from engramos.activation.rope import rotated_half
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExpectedAttention(Policy):
    """Queries are taken as normally distributed; their expected attention, times the length of the value, decides.

    Mean and covariance of the prompt's queries without their rotation are turned by the mean rotation of the
    positions that come next. The expected weight of a key k is exp(m.k s + k'Ck s^2 / 2), s the scaling.

    Source: Expected Attention, https://arxiv.org/abs/2510.00636, section 3.
    """

    num_future: int = 512
    """Positions after the prompt whose rotation is averaged; 1 or more."""
    num_sinks: int = 4
    """First tokens that always stay and whose queries do not count; 0 or more."""
    num_observed: int = 32_768
    """Newest queries that mean and covariance are taken of, at most; 1 or more. They are held until the scoring."""
    has_covariance: bool = True
    """Whether the spread of the queries counts, and not their mean alone."""
    is_value_weighted: bool = True
    """Whether the length of the value counts."""
    epsilon: float = 0.0
    """Added to the expected attention before the value's length multiplies it; 0 or more."""

    def __post_init__(self) -> None:
        for name in ("num_future", "num_observed"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")
        if not self.epsilon >= 0.0:
            raise ConfigError(f"epsilon is {self.epsilon}: give 0 or more")

    @property
    def num_queries(self) -> int:
        """All that may count."""
        return self.num_observed

    def score(self, view: LayerView) -> Tensor:
        """Return the expected attention to each token, weighted by its value."""
        is_sink = is_first(view, self.num_sinks)
        mean, covariance = self._statistics(view)
        keys = view.keys.float()
        logits = torch.einsum("hgd,htd->hgt", mean, keys) * view.scaling
        if self.has_covariance:
            spread = torch.einsum("hgij,htj->hgti", covariance, keys)
            logits += torch.einsum("hgti,hti->hgt", spread, keys) * (view.scaling**2 / 2)
        logits = logits.masked_fill((is_sink | (view.positions < 0))[:, None], float("-inf"))
        # heads with nothing but sinks have no logit at all
        scores = torch.softmax(logits, dim=-1).nan_to_num(0.0).mean(dim=1)
        if self.is_value_weighted:
            scores = (scores + self.epsilon) * torch.linalg.vector_norm(view.values, dim=-1, dtype=torch.float32)
        return scores.masked_fill(is_sink, PROTECTED)

    def _statistics(self, view: LayerView) -> tuple[Tensor, Tensor]:
        """Return mean (kv_heads, groups, d) and covariance (kv_heads, groups, d, d), turned to the positions ahead."""
        counted = view.query_positions >= self.num_sinks
        queries = view.rope.unrotate(view.queries[:, counted].float(), view.query_positions[counted])
        grouped = queries.reshape(view.kv_heads, view.groups, -1, queries.shape[-1])
        num = max(grouped.shape[2], 1)
        mean = grouped.sum(dim=2) / num
        centred = grouped - mean.unsqueeze(2)
        covariance = torch.einsum("hgqi,hgqj->hgij", centred, centred) / num
        first = int(view.positions.max()) + 1
        cos, sin = view.rope.angles(torch.arange(first, first + self.num_future, device=view.keys.device))
        cos, sin = cos.float().mean(dim=0), sin.float().mean(dim=0)

        def turned(x: Tensor) -> Tensor:
            return x * cos + rotated_half(x) * sin

        return turned(mean), turned(turned(covariance).transpose(-1, -2)).transpose(-1, -2)
