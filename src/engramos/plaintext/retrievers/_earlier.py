"""What earlier steps found, taken together: where methods that search again start from."""

from collections.abc import Mapping, Sequence

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query


def fused(query: Query, index: SearchIndex, found: Mapping[str, np.ndarray], of: Sequence[str]) -> np.ndarray | None:
    """Return the mean of earlier steps' scores, each scaled to 0..1 over the living rows that may be found.

    What may not be found must lead nowhere either, or its words would show in the order of the others.

    Args:
        query: the question, which knows the rows that may be found.
        index: the rows.
        found: scores by step name.
        of: the steps that count, equally; steps that found nothing are left out.

    Returns:
        float32 (rows,), 0 for all other rows; None where none of the steps tells rows apart.
    """
    total, num = np.zeros(len(index), dtype=np.float32), 0
    kept_rows = index.alive if query.allowed is None else index.alive & query.allowed
    if not kept_rows.any():
        return None
    is_open = bool(kept_rows.all())
    for name in of:
        if (scores := found.get(name)) is None:
            continue
        kept = scores if is_open else scores[kept_rows]
        low, high = kept.min(), kept.max()
        if high > low:
            total += (scores - low) * np.float32(1 / (float(high) - float(low)))
            num += 1
    if not num:
        return None
    total *= np.float32(1 / num)
    if not is_open:
        total[~kept_rows] = 0.0
    return total


def best(scores: np.ndarray, num: int) -> np.ndarray:
    """Return the rows with the greatest scores above 0, best first, ties in row order; at most `num`."""
    if num < len(scores):
        least = np.partition(scores, len(scores) - num)[len(scores) - num]
        rows = np.flatnonzero((scores >= least) & (scores > 0))
    else:
        rows = np.flatnonzero(scores > 0)
    return rows[np.lexsort((rows, -scores[rows]))][:num]
