"""What a whole session says about its turns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Sessions(Retriever):
    """An earlier step's score of a turn's session: the mean of its best turns.

    Source: ours, decision 0007.
    """

    of: str = "lexical"
    """The step whose scores are gathered."""
    best: int = 3
    """How many of a session's best turns count, 1 or more."""

    def __post_init__(self) -> None:
        if self.best < 1:
            raise ConfigError(f"best is {self.best}: give 1 or more")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the session's score for each of its rows, 0 for rows without a session."""
        base = found.get(self.of)
        if base is None or not index.sessions.codes:
            return None
        rest = np.where(index.alive, base, 0).astype(np.float32)
        in_session = np.flatnonzero(index.session != NONE)
        codes = index.session[in_session]
        total = np.zeros(len(index.sessions.codes), dtype=np.float32)
        order = np.lexsort((-rest[in_session], codes))
        sorted_codes = codes[order]
        starts = np.searchsorted(sorted_codes, np.arange(len(total)))
        rank = np.arange(len(order)) - starts[sorted_codes]
        top = rank < self.best
        np.add.at(total, sorted_codes[top], rest[in_session][order][top])
        scores = np.zeros(len(index), dtype=np.float32)
        scores[in_session] = total[codes] / self.best
        return scores
