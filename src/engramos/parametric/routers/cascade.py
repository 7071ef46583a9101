"""Routing by names first, and then by what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.routers._likeness import known_floor, nameless, nearness
from engramos.parametric.routers._names import index_of
from engramos.parametric.routers.base import Embed, Key, Routed, Router
from engramos.parametric.routers.embedding import Embedding
from engramos.parametric.routers.entity import Entity


@dataclass(frozen=True, slots=True)
class Cascade(Router):
    """Takes the adapters whose subject the question names, where they answer what it asks; the nearest come first.

    What is asked is compared without names: the question and those that an adapter answers, each with the same name in
    the place of all. So an adapter that knows where somebody lives is not attached to a question about the person's
    age, and of several adapters of a subject the right one is taken. Without an embedder, or with one that does not
    tell questions of different meaning apart, names alone decide. Where nothing is named, no adapter is taken, unless
    `threshold` allows the nearest.

    Source: ours, decision 0018.
    """

    floor: float | None = None
    """The least cosine of what is asked, in [0, 1]; 0 to take every named adapter; measured for the embedder where
    None."""
    threshold: float = 0.0
    """The least cosine of a question that names no subject, in [0, 1]; 0 for never."""
    margin: float = 0.05
    """How much nearer than the next adapter the best must be where no subject is named, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("floor", "threshold", "margin"):
            if getattr(self, name) is not None and not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number from 0 to 1")

    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        """Return the adapters; nothing is embedded where no name is found; see `Router.route`."""
        if not keys or limit < 1:
            return []
        named = Entity().route(question, keys, limit=len(keys))
        if not named:
            if not self.threshold:
                return []
            return Embedding(self.threshold, self.margin).route(question, keys, limit=limit, embed=embed)
        if embed is None or (len(named) == 1 and self.floor == 0):
            return named[:limit]
        near = _near(question, keys, {one.adapter_id for one in named}, embed)
        floor = self.floor if self.floor is not None else known_floor(embed)
        # what has no questions cannot be told to be far
        kept = [one for one in named if near.get(one.adapter_id, 1.0) >= floor]
        ranked = sorted(kept, key=lambda one: -near.get(one.adapter_id, 0.0))
        return [_with_cosine(one, near.get(one.adapter_id)) for one in ranked[:limit]]


def _near(question: str, keys: Sequence[Key], wanted: set[str], embed: Embed) -> dict[str, float]:
    """Return for each wanted adapter with questions how near the nearest of them is."""
    names = index_of(keys)
    asked = nameless(question, names)
    near: dict[str, float] = {}
    for key in keys:
        if key.adapter_id in wanted and key.questions():
            cosine = nearness(asked, key, embed, lambda text: nameless(text, names))
            near[key.adapter_id] = max(near.get(key.adapter_id, 0.0), cosine)
    return near


def _with_cosine(one: Routed, cosine: float | None) -> Routed:
    return one if cosine is None else Routed(one.adapter_id, one.score, f"{one.why}, a question at cosine {cosine:.2f}")
