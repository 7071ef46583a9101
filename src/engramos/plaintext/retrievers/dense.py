"""Dense retrieval: cosine of question and text."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.codes import ROLE as CODES
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever

NARROW = 0.5
"""A filter that leaves less than this share of the rows is served by scoring all rows."""


@dataclass(frozen=True, slots=True)
class Dense(Retriever):
    """Inner product over all rows; vectors have length 1, so it is the cosine, cut at 0.

    Small memories are scored exactly. In great ones all rows are scored by their codes first and the best of them
    exactly; the codes' scores of the others are moved to the exact scale by a line through the best and some rows
    taken evenly. Where the index has a nearest-neighbour index, its finds are scored, and the best rows of the steps
    before; the other rows have 0.

    Source: ours, decision 0011.
    """

    codes: str = "auto"
    """`none`, a method of the role codes, or `auto`: `int8` where numkong is installed, else `none`."""
    coded_from: int = 20_000
    """Rows from which on codes are used; below, the exact product takes no longer."""
    rescored: int = 64
    """How many rows with the best codes are scored exactly, 1 or more."""

    near: int = 1_000
    """How many rows are asked of a nearest-neighbour index, 1 or more."""

    def __post_init__(self) -> None:
        for name, least in (("rescored", 1), ("coded_from", 0), ("near", 1)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"{name} of dense is {value}: give {least} or more")
        if self.codes not in ("auto", "none", *CODES.names()):
            raise ConfigError(f"codes is {self.codes!r}: use auto, none, {', '.join(CODES.names())}")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return cosines; None where question or memory has no vectors."""
        if query.vector is None or index.vectors.shape[1] != len(query.vector):
            return None
        if index.near is not None and (scores := self._near(query, index, found)) is not None:
            return scores
        method = self._method(len(index))
        if method == "none":
            return np.maximum(index.vectors @ query.vector, 0.0)
        return self._coded(query, index, method)

    def _method(self, num: int) -> str:
        if num < self.coded_from:
            return "none"
        if self.codes != "auto":
            return self.codes
        return "int8" if CODES.make("int8").is_ready else "none"

    def _coded(self, query: Query, index: SearchIndex, method: str) -> np.ndarray:
        """Return exact cosines of the rows with the best codes, and the others' as their codes estimate them."""
        vectors, vector = index.vectors, query.vector
        scores = index.coded(method).score(vectors, vector)
        best = _best(scores, self.rescored, query.allowed)
        # the line needs rows that are not among the best too, or it would be drawn through one end alone
        evenly = np.arange(0, len(scores), max(1, len(scores) // self.rescored))
        rows = np.concatenate([best, evenly])
        exact, estimated = vectors[rows] @ vector, scores[rows]
        spread = estimated - estimated.mean()
        if (width := float(spread @ spread)) > 0:
            slope = np.float32(float(spread @ exact) / width)
            scores *= slope
            scores += exact.mean() - slope * estimated.mean()
        scores[rows] = exact
        if not index.has_vector.all():
            scores[~index.has_vector] = 0.0
        return np.maximum(scores, 0.0, out=scores)

    def _near(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return exact cosines of the rows that are near or that a step before put first; None to score all rows."""
        assert index.near is not None
        if query.allowed is not None and query.allowed.sum() < NARROW * len(index):
            # few of the near rows would be allowed; the filter comes first, so all that it leaves are scored
            return None
        near = index.near.find(index, query.vector, self.near)
        if near is None:
            return None
        rows = np.unique(np.concatenate([near, *(_best(one, self.rescored, query.allowed) for one in found.values())]))
        scores = np.zeros(len(index), dtype=np.float32)
        scores[rows] = np.maximum(index.vectors[rows] @ query.vector, 0.0)
        return scores


def _best(scores: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
    """Return the allowed rows of the `num` greatest scores, in no order."""
    if num >= len(scores):
        return np.arange(len(scores))
    if allowed is not None and not allowed.all():
        scores = np.where(allowed, scores, np.float32(-np.inf))
    return np.argpartition(scores, len(scores) - num)[len(scores) - num :]
