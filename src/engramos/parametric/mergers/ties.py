"""Small changes are dropped, signs are put to the vote, and those that agree are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers._deltas import check_rank, factors_of, merged
from engramos.parametric.mergers.base import Merger


@dataclass(frozen=True, slots=True)
class Ties(Merger):
    """Trim, elect signs, and average what agrees with the elected sign.

    Source: TIES-Merging, https://arxiv.org/abs/2306.01708, algorithm 1.
    Differs: the greatest numbers are kept for each module, not for all modules together; weights multiply the updates
        before the vote; what comes out has no small rank of its own and is cut down to `rank` by its singular values.
        peft trims and elects in the factors; here it is done in the updates.
    """

    density: float = 0.2
    """Share of each update that is kept, its greatest numbers; above 0, at most 1."""
    strength: float = 1.0
    """What the average is multiplied with; the paper's lambda, above 0."""
    rank: int = 0
    """At most so much; 0: the sum of the adapters' ranks at that module."""

    def __post_init__(self) -> None:
        if not 0.0 < self.density <= 1.0:
            raise ConfigError(f"density is {self.density}: give a number above 0, at most 1")
        if not 0.0 < self.strength < float("inf"):
            raise ConfigError(f"strength is {self.strength}: give a finite number above 0")
        check_rank(self.rank)

    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the average of what agrees."""
        return merged(adapters, weights, self._agreed)

    def _agreed(self, downs: Sequence[Tensor], ups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        kept = torch.stack([_trimmed(up @ down, self.density) for down, up in zip(downs, ups, strict=True)])
        agrees = (kept.sign() == kept.sum(dim=0).sign()) & (kept != 0)
        mean = torch.where(agrees, kept, 0.0).sum(dim=0) / agrees.sum(dim=0).clamp(min=1)
        return factors_of(self.strength * mean, self.rank or sum(down.shape[0] for down in downs))


def _trimmed(delta: Tensor, density: float) -> Tensor:
    """Return an update with all but its greatest numbers set to 0; at least one number stays."""
    flat = delta.flatten()
    places = flat.abs().topk(max(1, round(density * flat.numel()))).indices
    return torch.zeros_like(flat).scatter_(0, places, flat[places]).reshape(delta.shape)
