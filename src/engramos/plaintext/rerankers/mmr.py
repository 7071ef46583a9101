"""Maximal marginal relevance: each place goes to what answers the question and repeats the places before it least."""

from dataclasses import dataclass

import numpy as np

from engramos.plaintext.query import Query
from engramos.plaintext.rerankers.base import Candidates, Reranked, Reranker, require_num, require_share, scaled


@dataclass(frozen=True, slots=True)
class Mmr(Reranker):
    """Picks, place by place, the candidate with the most relevance less its likeness to those picked already.

    Source: Carbonell and Goldstein, The Use of MMR (SIGIR 1998).
    Differs: relevance is the score of the first stage, scaled to 0..1 over the candidates, where the paper compares
    vectors with the question; a row without a vector is like no other.
    """

    num: int = 30
    relevance: float = 0.8
    """The lambda of the paper, in [0, 1]: 1 keeps the order, 0 asks for difference alone."""

    def __post_init__(self) -> None:
        require_num(self.num)
        require_share("relevance", self.relevance)

    def rerank(self, query: Query, candidates: Candidates) -> Reranked:
        """Return the order of picking; the first candidate stays first."""
        wanted = scaled(candidates.scores) * self.relevance
        repeats = np.zeros(len(candidates), dtype=np.float32)
        is_left = np.ones(len(candidates), dtype=np.bool_)
        order = np.zeros(len(candidates), dtype=np.int64)
        for place in range(len(candidates)):
            gains = np.where(is_left, wanted - (1 - self.relevance) * repeats, -np.inf)
            order[place] = best = int(gains.argmax()) if place else 0
            is_left[best] = False
            repeats = np.maximum(repeats, candidates.vectors @ candidates.vectors[best])
        return Reranked.keeping_scores(order, candidates)
