"""Routing by names first, and by the likeness of questions among what they leave."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.routers.base import Embed, Key, Routed, Router
from engramos.parametric.routers.embedding import Embedding, nearness
from engramos.parametric.routers.entity import Entity


@dataclass(frozen=True, slots=True)
class Cascade(Router):
    """Takes the adapters whose subject the question names; where several, those with the nearest questions come first.

    A subject with many facts has several adapters, and only their questions tell them apart. Where nothing is named,
    no adapter is taken, unless `threshold` allows the nearest.

    Ours.
    """

    floor: float = 0.0
    """The least cosine of a question that names a subject, in [0, 1]; 0 to take every named adapter."""
    threshold: float = 0.0
    """The least cosine of a question that names no subject, in [0, 1]; 0 for never."""
    margin: float = 0.05
    """How much nearer than the next adapter the best must be where no subject is named, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("floor", "threshold", "margin"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number from 0 to 1")

    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        """Return the adapters; a question is embedded only where that decides something; see `Router.route`.

        Raises:
            InvalidInputError: if a key that is compared was made by another embedder.
        """
        if not keys or limit < 1:
            return []
        named = Entity().route(question, keys, limit=len(keys))
        if not named:
            if not self.threshold:
                return []
            return Embedding(self.threshold, self.margin).route(question, keys, limit=limit, embed=embed)
        if embed is None or (len(named) == 1 and not self.floor):
            return named[:limit]
        wanted = {one.adapter_id for one in named}
        own = [key for key in keys if key.adapter_id in wanted and key.vectors is not None]
        if not own:
            return named[:limit]
        vector = embed(question)
        near: dict[str, float] = {}
        for key in own:
            near[key.adapter_id] = max(near.get(key.adapter_id, 0.0), nearness(vector, key))
        # what has no vectors cannot be told to be far
        kept = [one for one in named if near.get(one.adapter_id, 1.0) >= self.floor]
        ranked = sorted(kept, key=lambda one: -near.get(one.adapter_id, 0.0))
        return [_with_cosine(one, near.get(one.adapter_id)) for one in ranked[:limit]]


def _with_cosine(one: Routed, cosine: float | None) -> Routed:
    return one if cosine is None else Routed(one.adapter_id, one.score, f"{one.why}, a question at cosine {cosine:.2f}")
