"""The role of routers: which adapters a question needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """By what an adapter is found."""

    adapter_id: str
    names: tuple[str, ...] = ()
    """Subjects of its facts, and their aliases."""
    vectors: np.ndarray | None = None
    """Of its questions, by the memory's embedder: (questions, dimensions) float32, each of length 1."""
    fingerprint: str = ""
    """Of the embedder."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An adapter that a question needs, and why."""

    adapter_id: str
    score: float
    """In [0, 1]: 1 for a name that the question holds word for word."""
    why: str
    """Such as `names 'Ana Lima'`."""


Embed = Callable[[str], np.ndarray]
"""From a question to its vector, of length 1."""


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
            embed: makes the question's vector; None where the memory has no embedder. Called at most once.
        """
