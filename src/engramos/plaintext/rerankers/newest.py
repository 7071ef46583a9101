"""Among memories that say the same of the same subject, the newest first."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.marks import asks
from engramos.plaintext.query import Query
from engramos.plaintext.rerankers.base import Candidates, Reranked, Reranker, require_num, require_share
from engramos.plaintext.terms import terms


@dataclass(frozen=True, slots=True)
class Newest(Reranker):
    """Candidates that differ from the best of them in few terms share places: the newest gets the best of these.

    "The office is in Bonn" and a later "The office is in Mainz" share a subject and what is said of it; what differs
    is the value. Two texts are of one group where they share their rarest words, weighted by rarity, and their vectors
    are near; and the lower one has every word of the question that the higher one has, so that for "Where does Ana
    live?" a text on Ben is none of the group, and what the question quotes keeps its place. Everything outside of a
    group keeps its place.

    Source: ours, decision 0012.
    """

    num: int = 30
    overlap: float = 0.4
    """Least share of the rarity that two texts have in common, in [0, 1]."""
    likeness: float = 0.8
    """Least cosine of their vectors, in [0, 1]; not asked of rows without vectors."""
    most_own: int = 3
    """How many terms either text may have that the other lacks; 0 or more."""

    def __post_init__(self) -> None:
        require_num(self.num)
        require_share("overlap", self.overlap)
        require_share("likeness", self.likeness)
        if self.most_own < 0:
            raise ConfigError(f"most_own is {self.most_own}: give 0 or more")

    def rerank(self, query: Query, candidates: Candidates) -> Reranked:
        """Return the order in which each group's places go to its members, newest first."""
        order = np.arange(len(candidates))
        near = self._near(candidates.vectors)
        # few are near another, and only their texts have to be read
        places = np.flatnonzero(near.any(0)).tolist()
        if not places:
            return Reranked.keeping_scores(order, candidates)
        texts = zip(places, candidates.bare_texts(places), strict=True)
        found = {place: frozenset() if asks(text) else frozenset(terms(text)) for place, text in texts}
        rarity = candidates.rarity(frozenset().union(*found.values()))
        asked = {term: rarity[term] for term in query.terms if term in rarity}
        grouped: set[int] = set()
        for first in places:
            if first in grouped:
                continue
            members = [first] + [
                other
                for other in np.flatnonzero(near[first]).tolist()
                if other > first and other not in grouped and self._is_same(found[first], found[other], rarity, asked)
            ]
            grouped.update(members)
            order[members] = sorted(members, key=lambda at: candidates.age[at])
        return Reranked.keeping_scores(order, candidates)

    def _near(self, vectors: np.ndarray) -> np.ndarray:
        """Return which two candidates may be of one group, by their vectors alone: bool (candidates, candidates)."""
        cosines = vectors @ vectors.T
        has_none = ~vectors.any(1)
        near = (cosines >= self.likeness) | has_none[:, None] | has_none
        np.fill_diagonal(near, False)
        return near

    def _is_same(
        self, one: frozenset[int], other: frozenset[int], rarity: Mapping[int, float], asked: Mapping[int, float]
    ) -> bool:
        common = one & other
        if not common or max(len(one), len(other)) - len(common) > self.most_own:
            return False
        if sum(rarity[term] for term in common) < self.overlap * sum(rarity[term] for term in one | other):
            return False
        return not any(term in asked for term in one - other) and (
            _rarest(common, asked) >= _rarest(other - one, asked)
        )


def _rarest(terms: frozenset[int], asked: Mapping[int, float]) -> float:
    return max((asked[term] for term in terms if term in asked), default=0.0)
