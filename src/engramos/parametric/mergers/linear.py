"""The weighted sum, or mean, in no more rank than it needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers._deltas import factors_of_sum, merged
from engramos.parametric.mergers.base import Merger


@dataclass(frozen=True, slots=True)
class Linear(Merger):
    """The weighted sum of the updates in the smallest rank that holds it: adapters that share directions need less.

    Source: task arithmetic, https://arxiv.org/abs/2212.04089, section 2.
    Differs: peft's `linear` adds the factors, not the updates, and so gets products of one adapter's `up` with the
        `down` of another; here updates are added, and factored anew.
    """

    is_mean: bool = False
    """Divide by the sum of the weights."""

    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the sum or the mean.

        Raises:
            InvalidInputError: as of the role, or if a mean is asked for and the weights add up to 0.
        """
        if self.is_mean and adapters:
            given = [1.0] * len(adapters) if weights is None else list(weights)
            total = sum(given)
            if not total:
                raise InvalidInputError("the weights of a mean add up to 0: give others, or set is_mean to false")
            weights = [weight / total for weight in given]
        return merged(adapters, weights, _sum)


def _sum(downs: Sequence[Tensor], ups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return factors_of_sum(downs, ups)
