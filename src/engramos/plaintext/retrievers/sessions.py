"""What a whole session says about its turns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Sessions(Retriever):
    """An earlier step's score of the best turn in a turn's session.

    Source: ours, decision 0007. The best turn carries over to other conversations as well as the mean of the best
    three, and needs no sorting.
    """

    of: str = "lexical"
    """The step whose scores are gathered."""

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the session's score for each of its rows, 0 for rows without a session."""
        base = found.get(self.of)
        if base is None or not index.sessions.codes:
            return None
        # the last place is for rows without a session, whose number is -1
        best = np.zeros(len(index.sessions.codes) + 1, dtype=np.float32)
        scored = np.flatnonzero(base)
        scored = scored[index.alive[scored]]
        np.maximum.at(best, index.session[scored], base[scored])
        best[-1] = 0.0
        return best.take(index.session, mode="wrap")
