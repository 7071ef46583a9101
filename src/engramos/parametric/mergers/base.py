"""The role of mergers: one adapter out of several.

A merge is a new adapter that must pass its own probes: every merge of fact adapters that was measured lost facts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from engramos.parametric.adapters.low_rank import LowRank


class Merger(ABC):
    """Makes one low-rank adapter of several. Methods are frozen dataclasses of their parameters."""

    @abstractmethod
    def merge(self, adapters: Sequence[LowRank], weights: Sequence[float] | None = None) -> LowRank:
        """Return the merged adapter.

        Args:
            adapters: 1 or more.
            weights: one for each; 1 each where None.

        Raises:
            InvalidInputError: if there are none, or weights do not fit.
            UnsupportedError: if their invocations differ.
        """
