"""Rotary position embeddings: keys turned to positions and back."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import InvalidInputError

Angles = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From positions of any shape to cosines and sines of that shape and a further axis of head_dim, unscaled."""


def rotated_half(x: Tensor) -> Tensor:
    """Return `x` with the halves of its last axis exchanged, the new first half negated."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


@dataclass(frozen=True, slots=True)
class Rope:
    """The rotation of one layer of one model.

    Source: RoFormer, https://arxiv.org/abs/2104.09864, section 3.2, in the form with halves that Llama's code has.
    """

    angles: Angles
    """Cosines and sines for positions, in float32."""

    @classmethod
    def plain(cls, head_dim: int, theta: float = 10_000.0) -> "Rope":
        """Return the rotation without scaling.

        Args:
            head_dim: even.
            theta: the base of the frequencies, > 0.

        Raises:
            InvalidInputError: if `head_dim` is odd.
        """
        if head_dim % 2:
            raise InvalidInputError(f"head_dim is {head_dim}: rotary embeddings need an even number")
        frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)

        def angles(positions: Tensor) -> tuple[Tensor, Tensor]:
            angle = positions.unsqueeze(-1).float() * frequencies.to(positions.device)
            both = torch.cat((angle, angle), dim=-1)
            return both.cos(), both.sin()

        return cls(angles)

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return `x` turned forward by its positions.

        Args:
            x: (..., tokens, head_dim).
            positions: (tokens,), or any shape that broadcasts with (..., tokens); whole numbers.
        """
        cos, sin = self.angles(positions)
        wide = x.float()
        return (wide * cos + rotated_half(wide) * sin).to(x.dtype)

    def unrotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return `x` turned back by its positions; `rotate` undone."""
        cos, sin = self.angles(positions)
        wide = x.float()
        return (wide * cos - rotated_half(wide) * sin).to(x.dtype)

    def move(self, x: Tensor, positions: Tensor, to: Tensor) -> Tensor:
        """Return keys that stood at `positions` turned to the positions `to`, by one rotation of the difference."""
        return self.rotate(x, to - positions)
