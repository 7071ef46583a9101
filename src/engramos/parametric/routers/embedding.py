"""Routing by the likeness of questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.routers.base import Embed, Key, Routed, Router


def nearness(vector: np.ndarray, key: Key) -> float:
    """Return the cosine of a question and the nearest question of a key, in [0, 1]; 0 where the key has none.

    Raises:
        InvalidInputError: if the vectors are of different length: then another embedder made the key.
    """
    if key.vectors is None or not key.vectors.size:
        return 0.0
    if key.vectors.ndim != 2 or key.vectors.shape[1] != vector.shape[-1]:
        raise InvalidInputError(
            f"the key of adapter {key.adapter_id} has vectors of shape {key.vectors.shape}, the question one of "
            f"{vector.shape[-1]} numbers: write the key with this memory's embedder"
        )
    return min(1.0, max(0.0, float(np.max(key.vectors @ vector))))


@dataclass(frozen=True, slots=True)
class Embedding(Router):
    """Takes the adapters with a question that is near to this one.

    Questions of one kind about different subjects are nearly as near as other wordings about the same subject, so that
    alone it attaches adapters to questions about strangers: `cascade` asks for the name first.

    Source: the gate of MEGa, https://arxiv.org/abs/2504.21239.
    Differs: the nearest question counts, a threshold and a margin may refuse, and nothing is mixed.
    """

    threshold: float = 0.85
    """The least cosine, in (0, 1]."""
    margin: float = 0.0
    """How much nearer than the next adapter the best must be, in [0, 1]; 0 to let all above the threshold pass."""

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"threshold is {self.threshold}: give a cosine above 0, at most 1")
        if not 0.0 <= self.margin <= 1.0:
            raise ConfigError(f"margin is {self.margin}: give a number from 0 to 1")

    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        """Return the adapters whose questions are near; none without `embed`; see `Router.route`.

        Raises:
            InvalidInputError: if a key was made by another embedder.
        """
        if embed is None or limit < 1 or all(key.vectors is None for key in keys):
            return []
        vector = embed(question)
        best: dict[str, float] = {}
        for key in keys:
            best[key.adapter_id] = max(best.get(key.adapter_id, 0.0), nearness(vector, key))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        if self.margin and len(ranked) > 1 and ranked[0][1] - ranked[1][1] < self.margin:
            return []
        near = [(name, score) for name, score in ranked if score >= self.threshold]
        return [Routed(name, score, f"a question at cosine {score:.2f}") for name, score in near[:limit]]
