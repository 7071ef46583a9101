"""Vectors to measure with: seeded, clustered, of length 1; no model is asked."""

from collections.abc import Sequence

import numpy as np

DIMS = 384
NUM_CLUSTERS = 200


def vectors(seed: int, num: int, dims: int = DIMS) -> np.ndarray:
    """Return vectors around 200 centres: (num, dims), float32, rows of length 1.

    A longer run with the same seed starts with the rows of a shorter one in blocks of 1,000.
    """
    centres = _units(np.random.default_rng([0, 5]).standard_normal((NUM_CLUSTERS, dims), dtype=np.float32))
    rows = np.empty((num, dims), dtype=np.float32)
    for start in range(0, num, 1_000):
        random = np.random.default_rng([seed, 6, start])
        size = min(1_000, num - start)
        noise = random.standard_normal((1_000, dims), dtype=np.float32)[:size] / np.float32(np.sqrt(dims))
        rows[start : start + size] = _units(centres[random.integers(0, NUM_CLUSTERS, 1_000)[:size]] + noise)
    return rows


def asked(seed: int, rows: np.ndarray, about: Sequence[int]) -> np.ndarray:
    """Return vectors of questions, each near the row that it is about: (len(about), dims), float32."""
    random = np.random.default_rng([seed, 7])
    noise = random.standard_normal((len(about), rows.shape[1]), dtype=np.float32) / np.float32(np.sqrt(rows.shape[1]))
    return _units(rows[np.asarray(about)] + noise)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
