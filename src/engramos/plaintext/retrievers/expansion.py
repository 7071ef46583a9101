"""Retrieval by what the first hits mention: a second query made of their words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import best, fused
from engramos.plaintext.retrievers._texts import bm25, held, idf, speaker_terms
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Expansion(Retriever):
    """BM25 of the rarest words of the best rows by earlier steps, the question's own words left out.

    The second hop of a question is named by the first hop's text and not by the question.

    Source: relevance models, Lavrenko and Croft (2001), with the selection of RM3, Abdul-Jaleel et al., UMass at TREC
    2004.
    Differs: the question's words are left out, since other steps score them; a row is not scored by words that it
    alone brought in, so that the first hits do not merely find themselves; words of speakers' names bring nothing in.
    """

    of: tuple[str, ...] = ("lexical", "lexical_near", "dense", "dense_near")
    """The steps whose best rows are read."""
    num_rows: int = 8
    """How many of the best rows are read, 1 or more."""
    num_terms: int = 15
    """How many of their terms are looked for, 1 or more."""
    most_share: float = 0.02
    """Terms that more than this share of all rows hold are not looked for, in (0, 1]; two rows are never too many."""
    sharpness: float = 4.0
    """How much the first row counts more than the others: weights are scaled scores to this power, 0 or more."""
    k1: float = 0.8
    """How soon further mentions of a term stop counting; 0 or more."""
    b: float = 0.4
    """How much long texts are held back, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.num_rows < 1 or self.num_terms < 1:
            raise ConfigError(f"num_rows is {self.num_rows}, num_terms is {self.num_terms}: give 1 or more")
        if not 0 < self.most_share <= 1 or self.sharpness < 0:
            raise ConfigError("expansion needs most_share in (0, 1] and a sharpness of 0 or more")
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"k1 is {self.k1} and b is {self.b}: k1 must be 0 or more, b in [0, 1]")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return BM25 of the second query; None where no earlier step found anything, or nothing leads on."""
        base = fused(query, index, found, self.of)
        if base is None:
            return None
        seeds = best(base, self.num_rows)
        terms, shares = self._second_query(query, index, seeds, base[seeds])
        if not len(terms):
            return None
        numbers, rows, gains = bm25(index, terms, shares.sum(0), self.k1, self.b)
        # a seed keeps of each gain the part that other seeds brought in
        number_of = np.full(len(index), len(seeds))
        number_of[seeds] = np.arange(len(seeds))
        own = np.vstack([shares, np.zeros_like(shares[:1])])[number_of[rows], numbers] / shares.sum(0)[numbers]
        scores = np.bincount(rows, gains * (1 - own), minlength=len(index)).astype(np.float32)
        np.maximum(scores, 0.0, out=scores)
        scores[~index.alive] = 0.0
        return scores if scores.any() else None

    def _second_query(
        self, query: Query, index: SearchIndex, seeds: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the terms to look for, and how much of each every seed brought in: (seeds, terms)."""
        texts = held(index, seeds)
        known = np.fromiter({*query.terms, *speaker_terms(index)}, dtype=np.int64)
        leads = (texts.spread >= 2) & (texts.spread <= max(2.0, self.most_share * index.num_alive))
        leads &= ~np.isin(texts.table, known)
        weights = (scores / scores[0]) ** np.float32(self.sharpness)
        lengths = np.maximum(index.postings.lengths[seeds], 1.0)
        shares = np.zeros((len(seeds), len(texts.table)), dtype=np.float32)
        shares[texts.rows, texts.terms] = weights[texts.rows] * texts.counts / lengths[texts.rows]
        value = np.where(leads, shares.sum(0) * idf(index, texts.spread), 0.0)
        kept = np.sort(best(value, self.num_terms))
        return texts.table[kept], shares[:, kept]
