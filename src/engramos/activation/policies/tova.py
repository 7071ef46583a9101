"""Keep what the newest query looks at, the same tokens in all heads of a layer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, LayerView, Policy, is_newest


@dataclass(frozen=True, slots=True)
class TOVA(Policy):
    """The attention of the newest query, averaged over all heads of the layer, decides.

    Source: TOVA, https://arxiv.org/abs/2401.06104, section 3.2.
    Differs: the newest token always stays. Where heads hold different tokens, the mean runs over those that hold it.
    """

    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    @property
    def num_queries(self) -> int:
        """One."""
        return 1

    def score(self, view: LayerView) -> Tensor:
        """Return the mean attention of the newest query, equal in all heads for equal positions."""
        received = view.attention(1).sum(dim=2).mean(dim=1)
        known, where = view.positions.unique(return_inverse=True)
        sums = torch.zeros(len(known), device=received.device).index_add_(0, where.flatten(), received.flatten())
        holders = torch.bincount(where.flatten(), minlength=len(known))
        return (sums / holders)[where].masked_fill(is_newest(view, 1), PROTECTED)
