"""Preference for turns that say something over turns that ask."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import ASKS
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Statements(Retriever):
    """1 for rows that do not end with a question, among the rows that an earlier step scored above 0.

    Source: ours, decision 0007.
    """

    of: tuple[str, ...] = ("dense", "lexical_near")
    """The first of these steps that scored says which rows count, so that no row is found for this alone."""

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return 1 or 0 a row; None where no such step scored, or no row ends with a question."""
        base = next((found[name] for name in self.of if name in found), None)
        asking, _ = index.postings.rows(ASKS)
        if base is None or not len(asking):
            return None
        scores = (base > 0).astype(np.float32)
        scores[asking] = 0.0
        return scores
