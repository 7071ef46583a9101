"""Routing by names first, and then by what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.routers._likeness import known_floor, nameless, nearness
from engramos.parametric.routers._names import index_of, words_of
from engramos.parametric.routers.base import Embed, Key, Routed, Router
from engramos.parametric.routers.embedding import Embedding
from engramos.parametric.routers.entity import Entity


@dataclass(frozen=True, slots=True)
class Cascade(Router):
    """Takes the adapters whose subject the question names, where they answer what it asks; the nearest come first.

    What is asked is compared without names: the question and those that an adapter answers about the same subject, each
    with one name in the place of all. So an adapter that knows where somebody lives is not attached to a question about
    the person's age, and of several adapters of a subject the right one is taken. Without an embedder, or with one that
    does not tell questions of different meaning apart, names alone decide. Where nothing is named, no adapter is taken,
    unless `threshold` allows the nearest.

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
    """Return for each wanted adapter with questions how near the nearest of them is that asks of the same subject."""
    names = index_of(keys)
    asked = nameless(question, names)
    meant: dict[int, set[str]] = {}
    for hit in names.found_in(question):
        for at in hit.keys:
            meant.setdefault(at, set()).add(_folded(hit.name))
    near: dict[str, float] = {}
    for at, key in enumerate(keys):
        if key.adapter_id in wanted and (taught := key.questions()):
            own = [one.text for one in taught if not one.names or meant.get(at, set()) & set(map(_folded, one.names))]
            cosine = nearness(asked, [nameless(text, names) for text in own], embed)
            near[key.adapter_id] = max(near.get(key.adapter_id, 0.0), cosine)
    return near


def _folded(name: str) -> str:
    return " ".join(word.folded for word in words_of(name))


def _with_cosine(one: Routed, cosine: float | None) -> Routed:
    return one if cosine is None else Routed(one.adapter_id, one.score, f"{one.why}, a question at cosine {cosine:.2f}")
