"""Lexical retrieval by BM25."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever
from engramos.plaintext.terms import term_of


@dataclass(frozen=True, slots=True)
class Lexical(Retriever):
    """BM25 over stems, with the statistics of this user's cubes alone; `window` reads a turn with its neighbours.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), section 3; idf as in Lucene, never
    negative. The window is ours, decision 0007: the turns around count as one text with the turn, so that a term
    said twice in a row saturates as within one text.
    """

    k1: float = 1.2
    """How soon further mentions of a term stop counting; 0 or more."""
    b: float = 0.6
    """How much long texts are held back, in [0, 1]."""
    least_length: float = 0.0
    """A shorter text counts as so many words long: among short turns length says little, 0 or more."""
    window: int = 0
    """How many turns on each side are read with a turn, 0 or more."""
    decay: float = 0.8
    """How much a mention counts in a neighbour, for each turn of distance, in (0, 1]."""
    speaker_weight: float = 1.0
    """How much a word that is a part of a speaker's name counts, in [0, 1]."""

    most_spread: int = 6_000
    """Mentions that are carried to neighbours, the rarest terms first; more frequent terms count where they stand."""

    def __post_init__(self) -> None:
        if self.most_spread < 0:
            raise ConfigError(f"most_spread is {self.most_spread}: give 0 or more")
        if self.k1 < 0 or not 0 <= self.b <= 1 or self.least_length < 0:
            raise ConfigError(
                f"k1 is {self.k1}, b {self.b} and least_length {self.least_length}: b must be in [0, 1], the others 0 "
                "or more"
            )
        if self.window < 0 or not 0 < self.decay <= 1 or not 0 <= self.speaker_weight <= 1:
            raise ConfigError("lexical needs a window of 0 or more, decay in (0, 1] and speaker_weight in [0, 1]")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return BM25 scores; None for a question without a term."""
        if not query.terms or not index.num_alive:
            return None
        num = len(index)
        lengths = index.postings.lengths[:num]
        if self.least_length:
            lengths = np.maximum(lengths, np.float32(self.least_length))
        mean = float(lengths @ index.alive.astype(np.float32)) / index.num_alive or 1.0
        names = _name_terms(index) if self.speaker_weight < 1 else frozenset()
        scores, reached = np.zeros(num, dtype=np.float32), np.zeros(num + 1, dtype=np.float32)
        num_spread = 0
        for term, times, rows, counts in _mentions(query, index):
            idf = float(np.log1p((index.num_alive - len(rows) + 0.5) / (len(rows) + 0.5)))
            gain = np.float32(times * idf * (self.k1 + 1) * (self.speaker_weight if term in names else 1.0))
            num_spread += len(rows)
            if self.window and num_spread <= self.most_spread:
                rows, counts = self._spread(index, rows, counts, reached)
            norms = np.float32(self.k1 * (1 - self.b)) + np.float32(self.k1 * self.b / mean) * lengths[rows]
            # a row that comes twice is read before it is written: it gains once
            scores[rows] += gain * counts / (counts + norms)
        return scores

    def _spread(
        self, index: SearchIndex, rows: np.ndarray, counts: np.ndarray, total: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that hold a term or stand near one that does, and the counts that reach them.

        A row may come twice, with the same count: whoever assigns by these rows assigns the same value twice.
        `total` is zeros of shape (rows + 1,), the last for missing neighbours, and is so again afterwards.
        """
        near = index.around(self.window)[:, rows]
        total[rows] = counts
        for distance in range(2 * self.window):
            # no two rows share a neighbour at one distance on one side, so that nothing is lost here
            total[near[distance]] += np.float32(self.decay ** (distance // 2 + 1)) * counts
        every = np.concatenate([rows, near.ravel()])
        every = every[every != NONE] if len(every) < len(total) else np.flatnonzero(total[:-1])
        reached = total[every]
        total[every] = 0.0
        total[NONE] = 0.0
        return every, reached


def _mentions(query: Query, index: SearchIndex) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Return each term of the question that living rows hold, rarest first: term, times asked, rows, counts."""
    found = []
    for term, times in query.terms.items():
        rows, counts = index.postings.rows(term)
        if len(rows) and not (alive := index.alive[rows]).all():
            rows, counts = rows[alive], counts[alive]
        if len(rows):
            found.append((term, times, rows, counts))
    return sorted(found, key=lambda one: (len(one[2]), one[0]))


def _name_terms(index: SearchIndex) -> frozenset[int]:
    """Return the terms that are parts of speakers' names."""
    parts = (term_of(word) for name in index.speakers.codes for word in name.split())
    return frozenset(term for term in parts if term is not None)
