"""The role of fusion: pieces that were encoded apart become one cache.

The pieces' keys are turned to their new places; then a method may ask the model to compute some tokens again, which
see all that stands before them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor


class Fusion(ABC):
    """Chooses what is computed again. Every method of the role passes `engramos.testing.fusion`."""

    turns: ClassVar[bool] = True
    """Whether keys are turned to their new positions; else they keep those they were encoded with."""

    @property
    def check_layer(self) -> int | None:
        """The layer at which fresh keys are compared with stored ones; layers before it are computed for all tokens.

        None where the choice needs no comparison.
        """
        return None

    @abstractmethod
    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        """Return the places of the tokens that are computed again.

        Args:
            lengths: tokens of each piece, in their order.
            deviation: (tokens,) float32, >= 0: how far each fresh key (and value) lies from the stored one at
                `check_layer`; None where that is None.

        Returns:
            int64, rising, without repeats; may be empty.
        """
