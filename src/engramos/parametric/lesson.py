"""A lesson: what a writer is given, what it may cost, and what it made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from engramos.cube import nothing
from engramos.parametric.adapter import Adapter
from engramos.parametric.facts import Fact


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learnt, and what must stay as it is."""

    facts: tuple[Fact, ...] = ()
    texts: tuple[str, ...] = ()
    """Documents or notes, for writers that learn from text."""
    unknown: tuple[str, ...] = ()
    """Questions that the model must not answer from these facts: it abstains."""
    retained: tuple[str, ...] = ()
    """General text on which the model must stay as it is."""
    common: tuple[str, ...] = ()
    """Everyday questions whose answers must stay as they are."""
    start: Adapter | None = None
    """A trained adapter that is to go on learning; None begins anew."""
    importance: Mapping[str, Tensor] = field(default_factory=nothing)
    """How much each number of `start` matters for what it knows, by its tensors' names; see `training.ewc`."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What writing costs, estimated or measured."""

    cpu_s: float = 0.0
    """CPU seconds."""
    num_bytes: int = 0
    """Bytes of the adapter."""
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer made of a lesson."""

    adapter: Adapter
    cost: Cost
    report: Mapping[str, float] = field(default_factory=nothing)
    """What the writer has measured, by name: the last loss, how many answers are learnt."""
