"""Stand side by side: ranks add up, and nothing is lost."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers._deltas import merged
from engramos.parametric.mergers.base import Merger


@dataclass(frozen=True, slots=True)
class Cat(Merger):
    """The weighted sum of the updates, exact: factors of all adapters are put side by side.

    Measured on SmolLM2-135M with adapters of 10 facts each: two merged answer .20 of their facts, five none.

    Source: `cat` of peft, https://huggingface.co/docs/peft/developer_guides/model_merging.
    """

    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the sum; its rank is the sum of the ranks.

        Raises:
            InvalidInputError: as of the role, or if the ranks add up to more than an adapter may have.
        """
        return merged(adapters, weights, _side_by_side)


def _side_by_side(downs: Sequence[Tensor], ups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.cat(tuple(downs)), torch.cat(tuple(ups), dim=1)
