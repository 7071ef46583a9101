"""The first tokens of each piece are computed again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FirstTokens(Fusion):
    """A piece's first tokens took all attention that had nowhere to go while it was encoded alone; they are renewed.

    The first piece stands where it was encoded: none of its tokens is.

    Source: EPIC (LegoLink), https://arxiv.org/abs/2410.15332.
    """

    num_tokens: int = 8
    """Of each piece but the first, 1 or more."""

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise ConfigError(f"num_tokens is {self.num_tokens}: give 1 or more, or use the method rerotate")

    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        """Return the first places of each piece but the first; see `Fusion.choose`."""
        chosen, start = [torch.empty(0, dtype=torch.int64)], 0
        for number, length in enumerate(lengths):
            if number:
                chosen.append(torch.arange(start, start + min(length, self.num_tokens)))
            start += length
        return torch.cat(chosen)
