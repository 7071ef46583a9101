"""Pieces placed one after the other, their keys turned to the new positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion


@dataclass(frozen=True, slots=True)
class Rerotate(Fusion):
    """Nothing is computed again: positions are right, but no piece has seen the pieces before it.

    Source: Prompt Cache, https://arxiv.org/abs/2311.04934, section 3.
    Differs: pieces have no fixed places; a rotation moves them to any.
    """

    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        """Return no place; see `Fusion.choose`."""
        return torch.empty(0, dtype=torch.int64)
