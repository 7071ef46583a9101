"""Score fusion by ranks alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.rankers.base import Ranked, Ranker


@dataclass(frozen=True, slots=True)
class Reciprocal(Ranker):
    """Each step adds its weight over `k` plus the row's rank by that step, for rows that it scored above 0.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion (SIGIR 2009).
    """

    k: float = 60.0
    """The greater, the less the first ranks stand out; 0 or more."""

    def __post_init__(self) -> None:
        if self.k < 0:
            raise ConfigError(f"k is {self.k}: give 0 or more")

    def rank(
        self, found: Mapping[str, np.ndarray], weights: Mapping[str, float], allowed: np.ndarray, limit: int
    ) -> Ranked:
        """Return the rows with the greatest sums."""
        total = np.zeros(len(allowed), dtype=np.float32)
        added: dict[str, np.ndarray] = {}
        for name, weight in weights.items():
            if (scores := found.get(name)) is None or weight == 0:
                continue
            rows = np.flatnonzero(allowed & (scores > 0))
            order = rows[np.argsort(-scores[rows], kind="stable")]
            added[name] = np.zeros(len(allowed), dtype=np.float32)
            added[name][order] = weight / (self.k + np.arange(1, len(order) + 1))
            total += added[name]
        order = np.argsort(-total, kind="stable")[:limit]
        rows = order[total[order] > 0]
        return Ranked(rows, total[rows], {name: part[rows] for name, part in added.items()})
