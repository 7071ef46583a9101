"""Keep everything."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies.base import LayerView, Policy


@dataclass(frozen=True, slots=True)
class Full(Policy):
    """Nothing is removed, whatever the budget says.

    Source: ours; the floor that every other policy is compared with.
    """

    acts_in: ClassVar[frozenset[str]] = frozenset()

    def score(self, view: LayerView) -> Tensor:
        """Return equal scores."""
        return torch.zeros(view.positions.shape)
