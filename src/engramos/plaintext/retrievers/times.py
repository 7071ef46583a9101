"""Retrieval by the time that a question names."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.clock import to_us
from engramos.errors import ConfigError
from engramos.plaintext.index import UNKNOWN, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Times(Retriever):
    """1 for cubes valid within a range that the question names, falling off outside of it.

    Source: ours, decision 0007.
    """

    half_life_days: float = 14.0
    """So far outside of the range the score is a half; above 0."""

    def __post_init__(self) -> None:
        if self.half_life_days <= 0:
            raise ConfigError(f"half_life_days is {self.half_life_days}: give a number above 0")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the best score over the question's ranges; None where it names none, or nothing is near it."""
        if not query.times:
            return None
        valid = index.valid.astype(np.float64)
        best = np.zeros(len(index), dtype=np.float32)
        for span in query.times:
            start, end = to_us(span.start), to_us(span.end)
            outside_us = np.maximum(np.maximum(start - valid, valid - end), 0.0)
            best = np.maximum(best, np.exp2(-outside_us / (self.half_life_days * 86_400e6)).astype(np.float32))
        best[index.valid == UNKNOWN] = 0.0
        # where nothing lies within a half life, the least distant says no more than the most distant
        return best if len(best) and best.max() >= 0.5 else None
