"""Routing by the names in a question."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.parametric.routers._names import index_of
from engramos.parametric.routers.base import Embed, Key, Routed, Router


@dataclass(frozen=True, slots=True)
class Entity(Router):
    """Takes the adapters whose subject or alias the question names, in the order in which it names them.

    Names are whole words; case, accents and a following `'s` do not matter, and of overlapping names the longest
    counts. A name of common English words alone, such as May, needs its capitals, and more than the capital that begins
    a sentence. Hidden states of the model were measured to tell the kind of question and not its subject.

    Source: the gate of MEGa, https://arxiv.org/abs/2504.21239, one gated adapter for each memory.
    Differs: names open the gate, not the likeness of embeddings.
    """

    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        """Return the adapters that are named; see `Router.route`. Nothing is embedded."""
        why: dict[int, str] = {}
        for hit in index_of(keys).found_in(question) if keys and limit > 0 else ():
            for at in hit.keys:
                why.setdefault(at, f"names {hit.name!r}")
        found: dict[str, Routed] = {}
        for at, text in why.items():
            found.setdefault(keys[at].adapter_id, Routed(keys[at].adapter_id, 1.0, text))
        return list(found.values())[: max(limit, 0)]
