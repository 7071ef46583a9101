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
    """An earlier step's score, summed over the turns before and after in the same session.

    A question and its answer stand in two turns; the one that matches the words is often not the one that answers.

    Source: ours, decision 0007.
    """

    of: str = "lexical"
    """The step whose scores are summed."""
    before: int = 1
    """How many turns before, 0 or more."""
    after: int = 1
    """How many turns after, 0 or more."""
    decay: float = 0.5
    """Each turn further away counts so much of the one before it, in (0, 1]."""

    def __post_init__(self) -> None:
        if self.before < 0 or self.after < 0 or self.before + self.after == 0 or not 0 < self.decay <= 1:
            raise ConfigError(
                "neighbours needs before and after of 0 or more, one of them above 0, and decay in (0, 1]"
            )

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the sums, the turn's own score left out; None where the step found nothing."""
        base = found.get(self.of)
        if base is None:
            return None
        padded = np.append(base, np.float32(0))
        total = np.zeros(len(index), dtype=np.float32)
        for steps, links in ((self.before, index.before), (self.after, index.after)):
            at, weight = links, 1.0
            for _ in range(steps):
                total += np.float32(weight) * padded[at]
                at = np.where(at == NONE, NONE, links[at])
                weight *= self.decay
        return total
