"""The role of codes, and the codes of an index's rows, kept as they come."""

import numpy as np


class Codes:
    """Shortens vectors and scores the short forms; subclasses are frozen dataclasses, one a file."""

    @property
    def is_ready(self) -> bool:
        """Whether what the method needs is installed."""
        return True

    def encode(self, vectors: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return arrays that stand for unit vectors, each with one row a vector.

        Args:
            vectors: float32, shape (rows, dims).

        Raises:
            MissingExtraError: if a package is not installed.
        """
        raise NotImplementedError

    def score(self, coded: tuple[np.ndarray, ...], vector: np.ndarray) -> np.ndarray:
        """Return what the inner products with a question's vector are by the codes, float32, shape (rows,).

        Args:
            coded: what `encode` returned.
            vector: float32, shape (dims,).
        """
        raise NotImplementedError


class Coded:
    """The codes of all rows of an index so far; the vector of a row never changes."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._kept: tuple[np.ndarray, ...] = ()
        self._num = 0

    def score(self, vectors: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the scores of all rows by their codes; rows that came since the last call are encoded first.

        Args:
            vectors: of all rows, float32, shape (rows, dims).
            vector: of the question, float32, shape (dims,).
        """
        for start in range(self._num, len(vectors), 8_192):
            self._keep(self._codes.encode(vectors[start : start + 8_192]), len(vectors))
        return self._codes.score(tuple(kept[: self._num] for kept in self._kept), vector)

    @property
    def num_bytes(self) -> int:
        """Bytes of the codes."""
        return sum(kept.nbytes for kept in self._kept)

    def _keep(self, encoded: tuple[np.ndarray, ...], num: int) -> None:
        """Put encoded rows behind the others, with room for at least `num`."""
        order = [None if not one.flags.f_contiguous or one.flags.c_contiguous else "F" for one in encoded]
        if not self._kept or len(self._kept[0]) < num:
            room = num + num // 2 if self._kept else num
            kept = self._kept
            self._kept = tuple(
                np.zeros((room, *one.shape[1:]), dtype=one.dtype, order=how or "C")
                for one, how in zip(encoded, order, strict=True)
            )
            for new, old in zip(self._kept, kept, strict=False):
                new[: self._num] = old[: self._num]
        end = self._num + len(encoded[0])
        for kept_array, one in zip(self._kept, encoded, strict=True):
            kept_array[self._num : end] = one
        self._num = end
