"""Postings: which rows hold a term, and how often; kept in memory for one user.

A base part is sorted once; rows that come later stand in a small tail until it is worth sorting again.
"""

from collections.abc import Sequence

import numpy as np

from engramos.plaintext.terms import unpack

MIN_TAIL = 2_048
"""Sort again when the tail has more rows than this, and more than an eighth of the base."""


class Postings:
    """Terms to rows, for rows numbered from 0 in the order of their adding."""

    def __init__(self, packed: Sequence[bytes]) -> None:
        self._packed = list(packed)
        self._tail: dict[int, list[tuple[int, int]]] = {}
        self._num_base = 0
        self.lengths = np.zeros(0, dtype=np.float32)
        """Number of words by row, stop words left out; shape (rows,)."""
        self._sort()

    def _sort(self) -> None:
        found, counts, rows = unpack(self._packed)
        order = np.argsort(found, kind="stable")
        found = found[order]
        self._counts, self._rows = counts[order], rows[order]
        self._terms, starts = np.unique(found, return_index=True)
        self._starts = np.append(starts, len(found))
        self.lengths = np.bincount(rows, weights=counts, minlength=len(self._packed)).astype(np.float32)
        self._num_base, self._tail = len(self._packed), {}

    def append(self, packed: bytes) -> None:
        """Add the next row."""
        row = len(self._packed)
        self._packed.append(packed)
        found, counts, _ = unpack([packed])
        for term, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._tail.setdefault(term, []).append((row, count))
        if row >= len(self.lengths):
            self.lengths = np.concatenate([self.lengths, np.zeros(max(1_024, row // 2), dtype=np.float32)])
        self.lengths[row] = counts.sum()
        if row - self._num_base > max(MIN_TAIL, self._num_base // 8):
            self._sort()

    def rows(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that hold a term (i4) and how often each does (f4)."""
        at = np.searchsorted(self._terms, term)
        rows, counts = self._rows[:0], self._counts[:0]
        if at < len(self._terms) and self._terms[at] == term:
            span = slice(self._starts[at], self._starts[at + 1])
            rows, counts = self._rows[span], self._counts[span]
        if term in self._tail:
            late = np.array(self._tail[term], dtype=np.float32)
            rows = np.concatenate([rows, late[:, 0].astype(np.int32)])
            counts = np.concatenate([counts, late[:, 1]])
        return rows, counts
