"""The weighted sum, cut down to a rank."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers._deltas import check_rank, factors_of_sum, merged
from engramos.parametric.mergers.base import Merger


@dataclass(frozen=True, slots=True)
class Svd(Merger):
    """The nearest update of a rank to the weighted sum of the updates.

    Source: Eckart and Young, https://doi.org/10.1007/BF02288367; as a merge, `svd` of peft,
        https://huggingface.co/docs/peft/developer_guides/model_merging.
    Differs: from thin bases of the factors, never from the whole matrix; so it costs as little as the ranks are small.
    """

    rank: int = 0
    """At most so much; 0: the greatest rank among the adapters at that module."""

    def __post_init__(self) -> None:
        check_rank(self.rank)

    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the nearest update."""
        return merged(adapters, weights, self._nearest)

    def _nearest(self, downs: Sequence[Tensor], ups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return factors_of_sum(downs, ups, self.rank or max(down.shape[0] for down in downs))
