"""The role of unlearners: facts are taken out of an adapter whose training data are not all at hand.

Never exact. Where the sources are known, dropping or writing a shard anew is exact and is preferred.
"""

from abc import ABC, abstractmethod

from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel


class Unlearner(ABC):
    """Makes an adapter that should no longer know some facts. Methods are frozen dataclasses of their parameters."""

    @abstractmethod
    def unlearn(self, adapter: LowRank, forgotten: Lesson, kept: Lesson, base: BaseModel, *, seed: int = 0) -> LowRank:
        """Return a new adapter; the given one and the base model are left as they were.

        Args:
            adapter: that knows too much.
            forgotten: whose facts must go, 1 or more.
            kept: whose facts and texts must stay; may be empty.
            base: the model.
            seed: of all that is drawn.

        Raises:
            InvalidInputError: if there is nothing to forget.
        """
