"""A search plan: which steps score, and how much each weighs; a plan is data."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engramos.errors import ConfigError
from engramos.plaintext.rankers import ROLE as RANKERS
from engramos.plaintext.rankers.base import Ranker
from engramos.plaintext.rerankers import ROLE as RERANKERS
from engramos.plaintext.rerankers.base import Reranker
from engramos.plaintext.retrievers import ROLE as RETRIEVERS
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Step:
    """One retriever or reranker in a plan."""

    name: str
    """Names the step in explanations and for later steps that build on it."""
    method: str
    weight: float
    """How much a retriever's scaled scores count, 0 or more; 0 leaves the step out, a reranker's too."""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"weight of step {self.name!r} is {self.weight}: give 0 or more")


@dataclass(frozen=True)
class Plan:
    """The steps of a search, in their order, the ranker that fuses them, and the rerankers that follow it."""

    steps: tuple[Step, ...]
    ranker: str = "linear"
    """A method's name, or `{ method = "reciprocal", k = 10 }`."""
    rerankers: tuple[Step, ...] = ()
    """Each reads the first rows as the one before has left them."""

    def __post_init__(self) -> None:
        names = [step.name for step in (*self.steps, *self.rerankers)]
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
        return made, RANKERS.parse(self.ranker)

    @cached_property
    def reranking(self) -> list[tuple[str, Reranker]]:
        """The name and method of each reranker that is not left out.

        Raises:
            UnknownMethodError: if a method is unknown.
            ConfigError: if a parameter does not fit.
        """
        kept = [step for step in self.rerankers if step.weight > 0]
        return [(step.name, RERANKERS.make(step.method, **step.parameters)) for step in kept]

    @property
    def num_read(self) -> int:
        """How many of the first rows the rerankers read, 0 where there are none."""
        return max((reranker.num for _, reranker in self.reranking), default=0)


DEFAULT = Plan(
    (
        Step("lexical", "lexical", 0.73, {"k1": 0.7, "b": 0.9, "least_length": 40, "speaker_weight": 0.3}),
        Step(
            "lexical_near",
            "lexical",
            0.80,
            {"k1": 0.8, "b": 0.8, "least_length": 30, "window": 3, "speaker_weight": 0.3},
        ),
        Step("dense", "dense", 1.37),
        Step("dense_near", "neighbours", 0.92, {"of": "dense", "window": 1}),
        Step("dense_session", "sessions", 0.40, {"of": "dense"}),
        Step("reply", "replies", 0.44, {"of": "lexical"}),
        Step("statement", "statements", 0.24),
        Step("speaker", "speakers", 0.34),
        Step("time", "times", 0.82),
        Step("role", "roles", 0.97),
        Step("wish", "wishes", 0.51),
        Step("order", "wishes", 0.83, {"kind": "order"}),
        Step("second_hop", "expansion", 0.49),
        Step("pool", "evidence_pool", 2.0),
    ),
    rerankers=(Step("newest", "newest", 1.0),),
)
"""What a search does when no plan is given. Weights: see docs/decisions/0013-one-plan.md."""

LEXICAL = Plan((Step("lexical", "lexical", 1.0),))
"""BM25 alone: the floor that every result is shown beside."""

DENSE = Plan((Step("dense", "dense", 1.0),))
"""Vectors alone."""

HYBRID = Plan((Step("lexical", "lexical", 1.0), Step("dense", "dense", 1.0)), "{ method = 'reciprocal', k = 60.0 }")
"""BM25 and vectors by reciprocal rank fusion, as stock hybrids do it."""
