"""Score fusion by a weighted sum."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.rankers.base import Ranked, Ranker

LEAST = np.float32(1e-6)
"""The total of a match that no step puts above another."""


@dataclass(frozen=True, slots=True)
class Linear(Ranker):
    """Each step's scores are scaled to 0..1 over the allowed rows and summed with their weights.

    Source: convex combination of min-max scaled scores, Bruch et al., An Analysis of Fusion Functions for Hybrid
    Retrieval, https://arxiv.org/abs/2210.11934, section 3.
    """

    def rank(
        self, found: Mapping[str, np.ndarray], weights: Mapping[str, float], allowed: np.ndarray, limit: int
    ) -> Ranked:
        """Return the rows with the greatest sums; rows that no step scored above 0 are left out."""
        total = np.zeros(len(allowed), dtype=np.float32)
        is_open, is_shut, is_floored = bool(allowed.all()), not allowed.any(), False
        scales: dict[str, tuple[np.float32, np.float32]] = {}
        for name, weight in weights.items():
            if (scores := found.get(name)) is None or weight == 0 or is_shut:
                continue
            kept = scores if is_open else scores[allowed]
            low, high = kept.min(), kept.max()
            is_floored = is_floored or low > 0
            if high > low:
                scales[name] = low, np.float32(weight / (float(high) - float(low)))
                total += _scaled(scores, *scales[name])
            elif high > 0:
                # all rows are equal here, as in a memory of one cube: it moves none, but it is a match
                scales[name] = np.float32(0), np.float32(weight / float(high))
                total += np.float32(weight)
        if is_floored:
            # a step scored every row: the one with its least is a match too, though the scale puts it at 0
            total += LEAST
        if not is_open:
            total[~allowed] = 0.0
        rows = _best(total, limit)
        return Ranked(rows, total[rows], {name: _scaled(found[name][rows], *scale) for name, scale in scales.items()})


def _scaled(scores: np.ndarray, low: np.float32, factor: np.float32) -> np.ndarray:
    moved = scores - low if low else scores.copy()
    moved *= factor
    return moved


def _best(total: np.ndarray, limit: int) -> np.ndarray:
    """Return the rows with the greatest totals above 0, best first, ties in row order."""
    limit = min(limit, len(total))
    if limit <= 0:
        return np.zeros(0, dtype=np.int64)
    if limit < len(total):
        least = np.partition(total, len(total) - limit)[len(total) - limit]
        rows = np.flatnonzero((total >= least) & (total > 0))
    else:
        rows = np.flatnonzero(total > 0)
    order = np.lexsort((rows, -total[rows]))
    return rows[order][:limit]
