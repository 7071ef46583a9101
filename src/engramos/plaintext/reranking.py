"""The rerankers of a plan, run over the first rows of a ranking.

What they need of an index is taken from it at once, so that an index that changes meanwhile, or a model that takes its
time, keeps nobody waiting.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import NONE, UNKNOWN, SearchIndex
from engramos.plaintext.plan import Plan
from engramos.plaintext.query import Query
from engramos.plaintext.rankers.base import Ranked
from engramos.plaintext.rerankers.base import Candidates, Models

MAX_BEFORE = 4
"""Most turns before a candidate that a reranker can read with it."""

Key = tuple[str, int]
"""A cube's id and version."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How rerankers read what stands in no index."""

    texts: Callable[[Sequence[Key]], list[str]]
    """The text of each version, as `[8 may 2023] Ana: text`; empty where it is gone."""
    bare_texts: Callable[[Sequence[Key]], list[str]]
    """The text of each version alone; empty where it is gone."""
    rarity: Callable[[Iterable[int]], dict[int, float]]
    """The inverse document frequency of terms, above 0."""
    models: Models


@dataclass(frozen=True, slots=True)
class Taken:
    """The first rows of a ranking and the question, apart from the index that they were taken from."""

    query: Query
    vectors: np.ndarray
    """Shape (rows, dims)."""
    times: np.ndarray
    """When each came to be true, or else to be known; microseconds; shape (rows,)."""
    near: tuple[tuple[Key, ...], ...]
    """Each row's cube and those of the turns before it, latest first."""

    def candidates(self, at: np.ndarray, scores: np.ndarray, reading: Reading) -> Candidates:
        """Return the rows at these places in this order."""
        oldest_first = sorted(range(len(at)), key=lambda place: (int(self.times[at[place]]), self.near[at[place]][0]))
        age = np.empty(len(at), dtype=np.int64)
        age[oldest_first[::-1]] = np.arange(len(at))
        chains = [self.near[place] for place in at]
        return Candidates(
            scores,
            self.vectors[at],
            age,
            lambda num_before: _joined(chains, num_before, reading.texts),
            lambda places: reading.bare_texts([chains[place][0] for place in places]),
            reading.rarity,
            reading.models,
        )


def take(index: SearchIndex, query: Query, ranked: Ranked, plan: Plan) -> Taken | None:
    """Return what the plan's rerankers read of an index; None where they have fewer than two rows to order."""
    rows = ranked.rows[: plan.num_read]
    if len(rows) < 2:
        return None
    times = np.where(index.valid[rows] == UNKNOWN, index.created[rows], index.valid[rows])
    near = tuple(tuple((index.ids[at], index.versions[at]) for at in _chain(index.before, int(row))) for row in rows)
    return Taken(query, index.vectors[rows], times, near)


def rerank(ranked: Ranked, taken: Taken | None, plan: Plan, limit: int, reading: Reading) -> Ranked:
    """Return a ranking as the plan's rerankers order it, cut to `limit`; what each has changed stands in its parts.

    Raises:
        MissingExtraError: if a model is not installed.
        ModelError: if a model fails.
    """
    place, scores, parts = np.arange(len(ranked.rows)), ranked.scores.copy(), dict(ranked.parts)
    for name, reranker in plan.reranking if taken is not None else ():
        first = place[: min(reranker.num, len(taken.times))]
        if len(first) < 2:
            continue
        found = reranker.rerank(taken.query, taken.candidates(first, scores[first], reading))
        first = first[found.order]
        gain = np.zeros(len(place), dtype=np.float32)
        gain[first] = found.scores - scores[first]
        place[: len(first)], scores[first], parts[name] = first, found.scores, gain
    kept = place[:limit]
    return Ranked(ranked.rows[kept], scores[kept], {name: part[kept] for name, part in parts.items()})


def _chain(links: np.ndarray, row: int) -> list[int]:
    """Return a row and up to `MAX_BEFORE` rows before it, latest first."""
    chain = [row]
    while len(chain) <= MAX_BEFORE and (row := int(links[row])) != NONE:
        chain.append(row)
    return chain


def _joined(chains: Sequence[Sequence[Key]], num_before: int, read: Callable[[Sequence[Key]], list[str]]) -> list[str]:
    """Return a text for each chain: its first `num_before + 1` cubes in the order of their saying, one a line."""
    wanted = [chain[: num_before + 1] for chain in chains]
    keys = list(dict.fromkeys(key for chain in wanted for key in chain))
    texts = dict(zip(keys, read(keys), strict=True))
    return ["\n".join(texts[key] for key in reversed(chain) if texts[key]) for chain in wanted]
