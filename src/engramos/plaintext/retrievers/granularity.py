"""Retrieval at three granularities, weighed for each question by how sure each is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import fused
from engramos.plaintext.retrievers._units import by_session, by_window, scaled
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Granularity(Retriever):
    """A mean of session, window and turn scores; the granularity whose scores point at few units counts most.

    Source: the entropy router of MemGAS, https://arxiv.org/abs/2505.19549.
    Differs: windows of turns stand in for summaries and keywords, which need a model; entropies are divided by their
    greatest value, so that few sessions and many turns compare.
    """

    of: tuple[str, ...] = ("lexical", "dense")
    """The steps whose scores are read."""
    window: int = 3
    """How many turns on each side make a window, 1 or more."""
    temperature: float = 0.1
    """How sharply scores in 0..1 become shares, above 0; small is sharp."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.temperature <= 0:
            raise ConfigError("granularity needs a window of 1 or more and a temperature above 0")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the means in [0, 1]; None where fewer than two sessions are known or no step found anything."""
        turns = fused(query, index, found, self.of)
        if turns is None or len(index.sessions.codes) < 2:
            return None
        windows = by_window(index, turns, self.window)
        sessions = by_session(index, turns, 3)
        known = np.unique(index.session[index.alive & (index.session != NONE)])
        units = (turns[index.alive], windows[index.alive], sessions[known])
        sure = np.array([self._sureness(scores) for scores in units], dtype=np.float32)
        weights = sure / sure.sum() if sure.sum() > 0 else np.full(3, 1 / 3, dtype=np.float32)
        # the last place is for rows without a session, whose number is -1
        levels = (turns, windows, sessions.take(index.session, mode="wrap"))
        scores = np.zeros(len(index), dtype=np.float32)
        for weight, level in zip(weights, levels, strict=True):
            scores += weight * scaled(level)
        scores[~index.alive] = 0.0
        return scores if scores.any() else None

    def _sureness(self, scores: np.ndarray) -> float:
        """Return how far scores are from equal: 1 less the entropy of their softmax over its greatest value."""
        if len(scores) < 2:
            return 0.0
        shares = np.exp((scaled(scores) - 1) / self.temperature)
        shares /= shares.sum()
        entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum()
        return max(0.0, 1 - float(entropy) / float(np.log(len(scores))))
