"""Keep the tokens whose keys are short."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._ties import best_by_topk
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy


@dataclass(frozen=True, slots=True)
class Knorm(Policy):
    """Short keys receive much attention, so long ones go; no attention is needed.

    Source: A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression, https://arxiv.org/abs/2406.11430.
    Differs: every layer is pruned; the paper leaves the first two whole. In the first layer equal tokens have keys of
    equal length: torch's top-k decides between them, as in kvpress.
    """

    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def score(self, view: LayerView) -> Tensor:
        """Return the negative length of the keys."""
        return -torch.linalg.vector_norm(view.keys, dim=-1, dtype=torch.float32)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of the shortest keys."""
        return [best_by_topk(row, int(count)) for row, count in zip(scores, counts, strict=True)]
