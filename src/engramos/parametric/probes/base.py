"""The role of probes: what an adapter must show before it becomes active."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engramos.parametric.adapter import Adapter
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """An adapter under examination."""

    base: BaseModel
    adapter: Adapter
    lesson: Lesson
    """What it was taught; `held_out` of its facts, `unknown`, `common` and `retained` are asked."""
    gate: Callable[[str], bool] = lambda question: True
    """Whether the router would attach this adapter for a question."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What a probe has found."""

    metrics: Mapping[str, float]
    """By name; each name belongs to one probe."""
    failures: tuple[str, ...] = field(default=())
    """What was wrong, one line each, without answers of the facts: it is stored and shown."""


class Probe(ABC):
    """Examines an adapter. Methods are frozen dataclasses of their parameters.

    Every method of the role passes `engramos.testing.probes`. A probe that has nothing to ask returns no metrics.
    """

    @abstractmethod
    def run(self, probed: Probed) -> Probing:
        """Return what the adapter does; base model and adapter are left as they were."""
