"""The role of a ranker."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows in their order, and how each score came to be."""

    rows: np.ndarray
    """Row numbers, best first."""
    scores: np.ndarray
    """float32, in step with `rows`."""
    parts: Mapping[str, np.ndarray]
    """What each step added to the score, by step, in step with `rows`."""


class Ranker:
    """Orders rows by the scores of several steps; subclasses are frozen dataclasses, one a file."""

    def rank(
        self, found: Mapping[str, np.ndarray], weights: Mapping[str, float], allowed: np.ndarray, limit: int
    ) -> Ranked:
        """Return at most `limit` of the allowed rows, best first; ties go to the earlier row.

        Args:
            found: scores by step, each of shape (rows,).
            weights: by step; a step without a weight does not count.
            allowed: bool, shape (rows,).
            limit: 0 or more.
        """
        raise NotImplementedError
