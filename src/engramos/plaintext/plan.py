"""A search plan: which steps score, and how much each weighs; a plan is data."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engramos.errors import ConfigError
from engramos.plaintext.rankers import ROLE as RANKERS
from engramos.plaintext.rankers.base import Ranker
from engramos.plaintext.retrievers import ROLE as RETRIEVERS
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Step:
    """One retriever in a plan."""

    name: str
    """Names the step in explanations and for later steps that build on it."""
    method: str
    weight: float
    """How much the step's scaled scores count, 0 or more."""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"weight of step {self.name!r} is {self.weight}: give 0 or more")


@dataclass(frozen=True)
class Plan:
    """The steps of a search, in their order, and the ranker that fuses them."""

    steps: tuple[Step, ...]
    ranker: str = "linear"

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ConfigError(f"two steps of a plan share a name: {', '.join(names)}")

    @cached_property
    def methods(self) -> tuple[list[tuple[Step, Retriever]], Ranker]:
        """Each step with its method, and the ranker.

        Raises:
            UnknownMethodError: if a method is unknown.
            ConfigError: if a parameter does not fit.
        """
        made = [(step, RETRIEVERS.make(step.method, **step.parameters)) for step in self.steps]
        return made, RANKERS.make(self.ranker)


def _around(name: str, of: str, weight: float, before: int, after: int) -> Step:
    return Step(name, "neighbours", weight, {"of": of, "before": before, "after": after})


DEFAULT = Plan(
    (
        Step("lexical", "lexical", 1.0),
        Step("dense", "dense", 1.0),
        _around("lexical_near", "lexical", 0.4, 1, 1),
        _around("dense_near", "dense", 0.4, 1, 1),
        _around("lexical_far", "lexical", 0.2, 3, 3),
        _around("dense_far", "dense", 0.2, 3, 3),
        Step("lexical_session", "sessions", 0.3, {"of": "lexical"}),
        Step("dense_session", "sessions", 0.3, {"of": "dense"}),
        Step("speaker", "speakers", 0.3),
        Step("time", "times", 0.3),
    )
)
"""What a search does when no plan is given. Weights: see docs/decisions/0007-hybrid-search.md."""

LEXICAL = Plan((Step("lexical", "lexical", 1.0),))
"""BM25 alone: the floor that every result is shown beside."""

DENSE = Plan((Step("dense", "dense", 1.0),))
"""Vectors alone."""
