"""Lexical retrieval by BM25."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Lexical(Retriever):
    """BM25 over stems, with the statistics of this user's cubes alone.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), section 3; idf as in Lucene, never
    negative.
    """

    k1: float = 1.2
    """How soon further mentions of a term stop counting; 0 or more."""
    b: float = 0.6
    """How much long texts are held back, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"k1 is {self.k1} and b is {self.b}: k1 must be 0 or more, b in [0, 1]")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return BM25 scores; None for a question without a term."""
        if not query.terms or not index.num_alive:
            return None
        num = len(index)
        lengths = index.postings.lengths[:num]
        mean = float(lengths[index.alive].mean()) or 1.0
        norms = self.k1 * (1 - self.b + self.b * lengths / mean)
        scores = np.zeros(num, dtype=np.float32)
        for term, times in query.terms.items():
            rows, counts = index.postings.rows(term)
            if not len(rows):
                continue
            holders = int(index.alive[rows].sum())
            idf = np.log1p((index.num_alive - holders + 0.5) / (holders + 0.5))
            scores[rows] += (times * idf * (self.k1 + 1)) * counts / (counts + norms[rows])
        return scores
