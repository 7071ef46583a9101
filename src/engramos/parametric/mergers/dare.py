"""Most changes are dropped by chance, the others made greater, and then added."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers._deltas import check_rank, factors_of, merged
from engramos.parametric.mergers.base import Merger


@dataclass(frozen=True, slots=True)
class Dare(Merger):
    """Drop numbers of each update by chance, divide the others by the share that stays, and add the updates.

    Source: DARE, https://arxiv.org/abs/2311.03099, section 3.2, with task arithmetic.
    Differs: what comes out has no small rank of its own and is cut down to `rank` by its singular values; peft drops
        numbers of the factors, here they are dropped from the updates.
    """

    drop: float = 0.5
    """Chance of each number to be dropped; in [0, 1)."""
    rank: int = 0
    """At most so much; 0: the sum of the adapters' ranks at that module."""
    seed: int = 0
    """Of what is dropped; drawn module by module in the order of names, adapter by adapter; 0 or more."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.drop < 1.0:
            raise ConfigError(f"drop is {self.drop}: give 0 or more, below 1")
        check_rank(self.rank)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}: give 0 or more, below 2 ** 63")

    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the sum of what is left."""
        random = torch.Generator().manual_seed(self.seed)

        def added(downs: Sequence[Tensor], ups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            total = torch.zeros(ups[0].shape[0], downs[0].shape[1], dtype=torch.float64)
            for down, up in zip(downs, ups, strict=True):
                stays = torch.rand(total.shape, generator=random) >= self.drop
                total += torch.where(stays, (up @ down) / (1.0 - self.drop), 0.0)
            return factors_of(total, self.rank or sum(down.shape[0] for down in downs))

        return merged(adapters, weights, added)
