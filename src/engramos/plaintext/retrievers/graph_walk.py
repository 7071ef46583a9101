"""Retrieval by a short walk over what joins the rows, from the best rows of earlier steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import best, fused
from engramos.plaintext.retrievers._texts import held, holders, idf, speaker_terms
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class GraphWalk(Retriever):
    """How much of a walk that starts at the best rows arrives at each row, by rare words shared and by turns beside.

    Source: personalised PageRank over passages and phrases as in HippoRAG, https://arxiv.org/abs/2405.14831,
    walked on a bounded frontier.
    Differs: the phrases are rare words and no model finds them; few steps and no convergence; a walk does not turn back
    at once by the word that it came by; the starting weight itself is no part of the score.
    """

    of: tuple[str, ...] = ("lexical", "lexical_near", "dense", "dense_near")
    """The steps whose best rows the walk starts from."""
    num_rows: int = 8
    """How many rows a step of the walk goes on from, 1 or more."""
    steps: int = 1
    """How many steps the walk takes, 1 or more."""
    restart: float = 0.5
    """How much of the walk begins anew at each step, in [0, 1)."""
    sharpness: float = 8.0
    """How much the first row counts more than the others: weights are scaled scores to this power, 0 or more."""
    beside: float = 0.1
    """How much of a step goes to the turns before and after, in [0, 1]; the rest goes by shared words."""
    most_share: float = 0.02
    """Words that more than this share of all rows hold join nothing, in (0, 1]; two rows are never too many."""
    most_edges: int = 20_000
    """How many pairs of row and word one step goes by, the rarest words first, 1 or more."""

    def __post_init__(self) -> None:
        if self.num_rows < 1 or self.steps < 1 or self.most_edges < 1:
            raise ConfigError("graph_walk needs num_rows, steps and most_edges of 1 or more")
        if not 0 <= self.restart < 1 or not 0 <= self.beside <= 1 or not 0 < self.most_share <= 1:
            raise ConfigError("graph_walk needs restart in [0, 1), beside in [0, 1] and most_share in (0, 1]")
        if self.sharpness < 0:
            raise ConfigError(f"sharpness is {self.sharpness}: give 0 or more")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return what arrives at each row, summed over the steps; None where the walk goes nowhere."""
        base = fused(query, index, found, self.of)
        if base is None:
            return None
        seeds = best(base, self.num_rows)
        start = np.zeros(len(index), dtype=np.float32)
        start[seeds] = (base[seeds] / base[seeds[0]]) ** np.float32(self.sharpness)
        start /= start.sum()
        names = np.fromiter(speaker_terms(index), dtype=np.int64)
        walk, scores = start, np.zeros(len(index), dtype=np.float32)
        for _ in range(self.steps):
            rows = best(walk, self.num_rows)
            arrived = self._step(index, rows, walk[rows], names)
            scores += arrived
            walk = np.float32(self.restart) * start + np.float32(1 - self.restart) * arrived
        return scores if scores.any() else None

    def _step(self, index: SearchIndex, rows: np.ndarray, weights: np.ndarray, names: np.ndarray) -> np.ndarray:
        """Return what arrives at each row from these rows, float32 (index rows,)."""
        arrived = np.zeros(len(index), dtype=np.float32)
        by_words = np.float32(1 - self.beside) * weights
        for links in (index.before, index.after) if self.beside else ():
            at = links[rows]
            # no two rows have the same neighbour on one side
            arrived[at[at != NONE]] += np.float32(self.beside / 2) * weights[at != NONE]
        texts = held(index, rows)
        joins = (texts.spread >= 2) & (texts.spread <= max(2.0, self.most_share * index.num_alive))
        joins &= ~np.isin(texts.table, names)
        rarest = np.argsort(texts.spread, kind="stable")
        joins[rarest] &= np.cumsum(np.where(joins, texts.spread, 0)[rarest]) <= self.most_edges
        if not joins.any():
            return arrived
        # from rows to words, by rarity
        rarity = np.where(joins, idf(index, texts.spread), 0.0).astype(np.float32)
        given = rarity[texts.terms] * by_words[texts.rows]
        total = np.bincount(texts.rows, rarity[texts.terms], len(rows)).astype(np.float32)
        given /= np.maximum(total, np.float32(1e-9))[texts.rows]
        held_by = np.bincount(texts.terms, given, len(texts.table))
        # from words to rows, in equal parts; nothing goes back to the row that brought it
        kept = np.flatnonzero(joins)
        numbers, to, _ = holders(index, texts.table[kept])
        part = held_by[kept] / (texts.spread[kept] - 1)
        arrived += np.bincount(to, part[numbers], minlength=len(index)).astype(np.float32)
        own = np.zeros(len(texts.table))
        own[kept] = 1 / (texts.spread[kept] - 1)
        arrived[rows] -= np.bincount(texts.rows, given * own[texts.terms], len(rows)).astype(np.float32)
        arrived[~index.alive] = 0.0
        return np.maximum(arrived, 0.0)
