"""Retrieval level by level: the best sessions, the best windows inside them, then their turns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._earlier import best, fused
from engramos.plaintext.retrievers._units import by_session, by_window, scaled
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Levels(Retriever):
    """The product of a turn's, its window's and its session's score; only what the level above chose goes on.

    Source: the routing of H-MEM, https://arxiv.org/abs/2507.22925.
    Differs: sessions and windows are the levels, where the paper has a model write domains, categories and traces.
    """

    of: tuple[str, ...] = ("lexical", "dense")
    """The steps whose scores are read."""
    num_sessions: int = 5
    """How many sessions are gone into, 1 or more."""
    num_windows: int = 40
    """How many turns, by the score of the window around them, are gone on to, 1 or more."""
    window: int = 2
    """How many turns on each side make a window, 1 or more."""

    def __post_init__(self) -> None:
        if min(self.num_sessions, self.num_windows, self.window) < 1:
            raise ConfigError("levels needs num_sessions, num_windows and window of 1 or more")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return products in [0, 1]; None where fewer than two sessions are known or no step found anything."""
        turns = fused(query, index, found, self.of)
        if turns is None or len(index.sessions.codes) < 2:
            return None
        sessions = by_session(index, turns, 3)
        is_chosen = np.zeros(len(sessions), dtype=np.float32)
        chosen = best(sessions, self.num_sessions)
        is_chosen[chosen] = scaled(sessions)[chosen]
        # the last place is for rows without a session, whose number is -1
        of_session = is_chosen.take(index.session, mode="wrap")
        windows = scaled(by_window(index, turns, self.window)) * of_session
        windows[~index.alive] = 0.0
        rows = best(windows, self.num_windows)
        scores = np.zeros(len(index), dtype=np.float32)
        scores[rows] = windows[rows] * scaled(turns)[rows]
        return scores if scores.any() else None
