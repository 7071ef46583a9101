"""Score fusion by a weighted sum."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.rankers.base import Ranked, Ranker


@dataclass(frozen=True, slots=True)
class Linear(Ranker):
    """Each step's scores are scaled to 0..1 over the allowed rows and summed with their weights.

    Source: convex combination of min-max scaled scores, Bruch et al., An Analysis of Fusion Functions for Hybrid
    Retrieval, https://arxiv.org/abs/2210.11934, section 3.
    """

    def rank(
        self, found: Mapping[str, np.ndarray], weights: Mapping[str, float], allowed: np.ndarray, limit: int
    ) -> Ranked:
        """Return the rows with the greatest sums; rows that no step scored above its least are left out."""
        total = np.zeros(len(allowed), dtype=np.float32)
        scaled: dict[str, np.ndarray] = {}
        for name, weight in weights.items():
            if (scores := found.get(name)) is None or weight == 0 or not allowed.any():
                continue
            kept = scores[allowed]
            low, high = float(kept.min()), float(kept.max())
            if high > low:
                scaled[name] = (scores - low) * np.float32(weight / (high - low))
                total += scaled[name]
            elif high > 0:
                # all rows are equal here, as in a memory of one cube: it moves none, but it is a match
                scaled[name] = np.full(len(allowed), weight, dtype=np.float32)
                total += scaled[name]
        total[~allowed] = 0.0
        rows = _best(total, limit)
        return Ranked(rows, total[rows], {name: part[rows] for name, part in scaled.items()})


def _best(total: np.ndarray, limit: int) -> np.ndarray:
    """Return the rows with the greatest totals above 0, best first, ties in row order."""
    limit = min(limit, len(total))
    if limit <= 0:
        return np.zeros(0, dtype=np.int64)
    if limit < len(total):
        least = np.partition(total, len(total) - limit)[len(total) - limit]
        rows = np.flatnonzero(total >= max(least, np.float32(1e-9)))
    else:
        rows = np.flatnonzero(total > 0)
    order = np.lexsort((rows, -total[rows]))
    return rows[order][:limit]
