"""What the turns around a turn say about it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Neighbours(Retriever):
    """An earlier step's score, as the mean over a turn and the turns around it in the same session.

    A question and its answer stand in two turns; the one that matches the words is often not the one that answers.
    Beyond the ends of a session its first and last turn are repeated.

    Source: ours, decision 0007.
    """

    of: str = "dense"
    """The step whose scores are read."""
    window: int = 1
    """How many turns on each side, 1 or more."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window is {self.window}: give 1 or more")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the means; None where the step found nothing."""
        base = found.get(self.of)
        if base is None:
            return None
        total = base.copy()
        own = np.arange(len(base))
        for links in (index.before, index.after):
            at = np.where(links == NONE, own, links)
            moved = base
            for _ in range(self.window):
                moved = moved.take(at)
                total += moved
        total *= np.float32(1 / (2 * self.window + 1))
        return total
