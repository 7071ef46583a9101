"""The role of routers: which adapters a question needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Taught:
    """A question that an adapter answers."""

    text: str
    names: tuple[str, ...] = ()
    """Of whom it asks: subject and aliases. None where that is not known: then it may be anyone of the key."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """By what an adapter is found."""

    adapter_id: str
    names: tuple[str, ...] = ()
    """Subjects of its facts, and their aliases."""
    questions: Callable[[], Sequence[Taught]] = tuple
    """Reads what its facts answer, in the wordings that were trained; asked only where names do not decide."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An adapter that a question needs, and why."""

    adapter_id: str
    score: float
    """In [0, 1]: 1 for a name that the question holds word for word."""
    why: str
    """Such as `names 'Ana Lima'`."""


Embed = Callable[[Sequence[str]], np.ndarray]
"""From texts, 1 or more, to their vectors, each of length 1: (texts, dimensions) float32."""


class Router(ABC):
    """Chooses adapters for a question. Every method of the role passes `engramos.testing.routers`.

    Methods are frozen dataclasses of their parameters. No adapter at all is the usual answer: then the base model
    answers, unchanged.
    """

    @abstractmethod
    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        """Return the adapters for a question, best first; none where no one is sure enough.

        Args:
            question: as a person writes it.
            keys: of all active adapters.
            limit: at most so many.
            embed: makes vectors; None where the memory has no embedder. It remembers those of the keys' questions.
        """
