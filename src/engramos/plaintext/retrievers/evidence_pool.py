"""Retrieval in rounds: what was found says what to ask next, and all rounds are pooled."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.cube import CubeType
from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import best, fused
from engramos.plaintext.retrievers._texts import bm25, held, idf, speaker_terms
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class EvidencePool(Retriever):
    """Take the best row, ask for the question's words that it lacks and for the rare words that it brings, again.

    A row's score is the best over the rounds, so that a row that was taken keeps its place in the pool.

    Source: the loops of RFM-RAG, https://arxiv.org/abs/2508.17862, and ComoRAG, https://arxiv.org/abs/2508.10419.
    Differs: no model rewords the question or judges the evidence; words do, and the number of rounds is fixed.
    """

    of: tuple[str, ...] = ("lexical", "lexical_near", "dense", "dense_near")
    """The steps that say which row is best first."""
    rounds: int = 1
    """How many further searches, 1 or more."""
    starts: int = 1
    """From how many first rows a chain of rounds starts, 1 or more."""
    num_terms: int = 12
    """How many rare words of a taken row are looked for, 1 or more."""
    most_share: float = 0.02
    """Words that more than this share of all rows hold are not looked for, in (0, 1]; two rows are never too many."""
    missing: float = 0.5
    """How much a word of the question counts that no taken row has, against a word that was brought; 0 or more."""
    closeness: float = 0.3
    """How much the earlier steps' score counts in choosing the next row, in [0, 1]."""
    passages_only: bool = True
    """Only passages of documents lead on: they name much; a turn names little, and leans on the turns beside it."""
    k1: float = 0.8
    """How soon further mentions of a term stop counting; 0 or more."""
    b: float = 0.4
    """How much long texts are held back, in [0, 1]."""

    def __post_init__(self) -> None:
        if min(self.rounds, self.starts, self.num_terms) < 1:
            raise ConfigError("evidence_pool needs rounds, starts and num_terms of 1 or more")
        if not 0 < self.most_share <= 1 or self.missing < 0 or not 0 <= self.closeness <= 1:
            raise ConfigError("evidence_pool needs most_share in (0, 1], missing of 0 or more, closeness in [0, 1]")
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"k1 is {self.k1} and b is {self.b}: k1 must be 0 or more, b in [0, 1]")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the pool's scores in [0, 1]; None where no earlier step found anything, or nothing leads on."""
        base = fused(query, index, found, self.of)
        if base is None:
            return None
        pool, is_led = np.zeros(len(index), dtype=np.float32), False
        for start in best(base, self.starts).tolist():
            is_led |= self._chain(query, index, base, start, pool)
        return pool if is_led else None

    def _chain(self, query: Query, index: SearchIndex, base: np.ndarray, start: int, pool: np.ndarray) -> bool:
        """Put a chain of rounds from one row into the pool; return whether it led to any other row."""
        taken, worth, is_led = [start], float(base[start] / base.max()), False
        pool[start] = max(float(pool[start]), worth)
        for _ in range(self.rounds):
            if self.passages_only and index.type[taken[-1]] != index.types.find(CubeType.RESOURCE.value):
                break
            answer = self._search(query, index, np.array(taken))
            if answer is None:
                break
            is_led = True
            answer *= np.float32(worth / float(answer.max()))
            np.maximum(pool, answer, out=pool)
            chosen = answer * np.float32(1 - self.closeness) + base * np.float32(self.closeness)
            chosen[answer == 0] = 0.0
            taken.append(int(chosen.argmax()))
            worth = float(answer[taken[-1]])
        return is_led

    def _search(self, query: Query, index: SearchIndex, taken: np.ndarray) -> np.ndarray | None:
        """Return the scores of the next question, which finds no taken row; None where it has no words."""
        texts = held(index, taken)
        asked = np.fromiter(query.terms, dtype=np.int64, count=len(query.terms))
        names = np.fromiter(speaker_terms(index), dtype=np.int64)
        leads = (texts.spread >= 2) & (texts.spread <= max(2.0, self.most_share * index.num_alive))
        leads &= ~np.isin(texts.table, asked) & ~np.isin(texts.table, names)
        # words of the row taken last lead on; those of earlier rows were looked for already
        is_last = np.bincount(texts.terms, texts.rows == len(taken) - 1, len(texts.table)) > 0
        value = np.where(leads & is_last, idf(index, texts.spread), 0.0).astype(np.float32)
        brought = texts.table[best(value, self.num_terms)]
        lacking = asked[~np.isin(asked, texts.table)].astype(np.uint32) if self.missing else texts.table[:0]
        terms = np.concatenate([brought, lacking])
        weights = np.full(len(terms), self.missing, dtype=np.float32)
        weights[: len(brought)] = 1.0
        _, rows, gains = bm25(index, terms, weights, self.k1, self.b)
        scores = np.bincount(rows, gains, minlength=len(index)).astype(np.float32)
        scores[taken] = 0.0
        scores[~index.alive] = 0.0
        return scores if scores.any() else None
