"""The role of writers: facts or texts become an adapter."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel


class Writer(ABC):
    """Makes one adapter of one lesson. Every method of the role passes `engramos.testing.writers`.

    Methods are frozen dataclasses of their parameters. The same lesson, model, parameters and seed give the same
    adapter on one machine with one thread.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts"})
    """What it learns from: `facts`, `texts`."""
    facts_a_shard: ClassVar[int] = 12
    """How many facts, at most, it writes well into one adapter."""
    is_exact_to_forget: ClassVar[bool] = False
    """Whether `without` takes a fact out as if it had never been written."""

    @abstractmethod
    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost on one thread of a common CPU."""

    @abstractmethod
    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the adapter that knows the lesson; the base model is left as it was.

        Args:
            lesson: with what `takes` names, 1 or more of it.
            base: the model.
            seed: of all that is drawn.
            progress: called with the number of each step that is done.

        Raises:
            InvalidInputError: if the lesson has nothing that this writer takes.
            UnsupportedError: if the model cannot carry such an adapter.
            ModelError: if a number became NaN or infinite.
        """
