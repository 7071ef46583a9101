"""Dense retrieval by what the first hits mean beyond the question."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import best, fused
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class DenseExpansion(Retriever):
    """Cosine with the mean of the best rows' vectors, less what the question already says.

    Source: Rocchio, Relevance Feedback in Information Retrieval (1971), for vectors as in Li et al., Pseudo Relevance
    Feedback with Deep Language Models and Dense Retrievers, https://arxiv.org/abs/2108.11044.
    Differs: the part that lies along the question is taken away, since other steps score it; no row counts in the
    mean that scores itself.
    """

    of: tuple[str, ...] = ("lexical", "lexical_near", "dense", "dense_near")
    """The steps whose best rows are read."""
    num_rows: int = 5
    """How many of the best rows are read, 1 or more."""
    covered: float = 0.5
    """How much of the part along the question is taken away, in [0, 1]."""
    sharpness: float = 2.0
    """How much the first row counts more than the others: weights are scaled scores to this power, 0 or more."""

    def __post_init__(self) -> None:
        if self.num_rows < 1 or not 0 <= self.covered <= 1 or self.sharpness < 0:
            raise ConfigError(
                "dense_expansion needs num_rows of 1 or more, covered in [0, 1] and a sharpness of 0 or more"
            )

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return cosines, cut at 0; None where there are no vectors or no earlier step found anything."""
        if query.vector is None or index.vectors.shape[1] != len(query.vector):
            return None
        base = fused(query, index, found, self.of)
        if base is None:
            return None
        seeds = best(base, self.num_rows)
        weights = (base[seeds] / base[seeds[0]]) ** np.float32(self.sharpness)
        read = index.vectors[seeds]
        read = read - np.float32(self.covered) * np.outer(read @ query.vector, query.vector)
        read *= weights[:, None]
        second = read.sum(0)
        length = float(np.linalg.norm(second))
        if length < 1e-6:
            return None
        scores = index.vectors @ second
        scores[seeds] -= (index.vectors[seeds] * read).sum(1)
        scores[seeds] *= weights.sum() / np.maximum(weights.sum() - weights, 1e-6) if len(seeds) > 1 else 0.0
        scores *= np.float32(1 / length)
        np.maximum(scores, 0.0, out=scores)
        return scores.astype(np.float32, copy=False)
