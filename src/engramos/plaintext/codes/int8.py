"""Codes of one byte a dimension."""

import functools
import importlib.util
from dataclasses import dataclass

import numpy as np

from engramos.errors import MissingExtraError
from engramos.plaintext.codes.base import Codes

MOST = 127


@dataclass(frozen=True, slots=True)
class Int8(Codes):
    """Each row divided by its greatest part and rounded to -127..127; products of bytes, summed exactly.

    On sentence vectors of 384 dimensions off by 0.0012 (standard deviation) and 0.007 at most, so that what builds on
    the scores of all rows stays as it is.

    Source: symmetric scalar quantisation, one scale a row; ours is only the use.
    """

    @property
    def is_ready(self) -> bool:
        """Whether numkong is installed; numpy has no product of bytes."""
        return _is_installed()

    def encode(self, vectors: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return bytes of shape (rows, dims) and scales of shape (rows,)."""
        scales = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-12)) / np.float32(MOST)
        return np.rint(vectors / scales[:, None]).astype(np.int8, order="C"), scales

    def score(self, coded: tuple[np.ndarray, ...], vector: np.ndarray) -> np.ndarray:
        """Return the products of bytes times both scales."""
        rows, scales = coded
        ((asked,), (scale,)) = self.encode(vector[None])
        found = products(rows, asked)
        found *= scales
        found *= scale
        return found


def products(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the products of rows of bytes with one row of bytes, float32, shape (rows,).

    Raises:
        MissingExtraError: if numkong is not installed.
    """
    try:
        import numkong
    except ImportError as error:
        raise MissingExtraError("numkong", "codes") from error
    if not len(rows):
        return np.zeros(0, dtype=np.float32)
    return np.asarray(numkong.cdist(asked[None], rows, "dot"), dtype=np.float32)[0]


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("numkong") is not None
