"""Pieces placed one after the other as they are: keys keep the positions that they were encoded with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion


@dataclass(frozen=True, slots=True)
class Concat(Fusion):
    """Nothing is turned and nothing computed again, so that positions repeat: here to be compared with.

    Source: the merge of caches in MemOS (github.com/MemTensor/MemOS, KVCacheMemory).
    """

    turns: ClassVar[bool] = False

    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        """Return no place; see `Fusion.choose`."""
        return torch.empty(0, dtype=torch.int64)
