"""Routing by the likeness of questions."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.routers._likeness import nearness
from engramos.parametric.routers.base import Embed, Key, Routed, Router


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
        """Return the adapters whose questions are near; none without `embed`; see `Router.route`."""
        if embed is None or limit < 1:
            return []
        best: dict[str, float] = {}
        for key in keys:
            best[key.adapter_id] = max(
                best.get(key.adapter_id, 0.0), nearness(question, [one.text for one in key.questions()], embed)
            )
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        if self.margin and len(ranked) > 1 and ranked[0][1] - ranked[1][1] < self.margin:
            return []
        near = [(name, score) for name, score in ranked if score >= self.threshold]
        return [Routed(name, score, f"a question at cosine {score:.2f}") for name, score in near[:limit]]
