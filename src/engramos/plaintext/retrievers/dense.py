"""Dense retrieval: cosine of question and text."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Dense(Retriever):
    """Exact inner product over all rows; vectors have length 1, so it is the cosine, cut at 0.

    Source: ours, decision 0007 (exact search a user is quicker than any index up to 100,000 rows).
    """

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return cosines; None where question or memory has no vectors."""
        if query.vector is None or index.vectors.shape[1] != len(query.vector):
            return None
        return np.maximum(index.vectors @ query.vector, 0.0)
