"""Retrieval of the reply to a question that somebody asked in the conversation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.marks import ASKS
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Replies(Retriever):
    """An earlier step's score of the turn before, where that turn ends with a question.

    A turn that asks nearly what is asked now is followed by the answer, in words of its own.

    Source: ours, decision 0007.
    """

    of: str = "lexical"
    """The step whose scores are handed on."""

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the score that each row is handed; None where the step found nothing or nobody asked anything."""
        base = found.get(self.of)
        asking, _ = index.postings.rows(ASKS)
        asking = asking[index.alive[asking]]
        reply = index.after[asking]
        asking, reply = asking[reply != NONE], reply[reply != NONE]
        if base is None or not len(asking):
            return None
        scores = np.zeros(len(index), dtype=np.float32)
        scores[reply] = base[asking]
        return scores
