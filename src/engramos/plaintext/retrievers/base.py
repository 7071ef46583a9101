"""The role of a retriever."""

from collections.abc import Mapping

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query


class Retriever:
    """Scores all rows of an index for a question; subclasses are frozen dataclasses, one a file."""

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return one score a row, or None where this method has nothing to say of this question.

        Args:
            query: the question.
            index: the rows.
            found: scores of the steps before this one, by step name; shape (rows,).

        Returns:
            float32, shape (rows,), 0 or more; greater is better. The scale is the method's own.
        """
        raise NotImplementedError
