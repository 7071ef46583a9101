"""One small adapter for each fact, chosen by its key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from engramos.errors import ConfigError
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.writers.base import Writer
from engramos.parametric.writers.lora import Lora


@dataclass(frozen=True, slots=True)
class Mega(Writer):
    """Writes every memory into an adapter of its own; the router finds it by name and by the nearness of its questions.

    Source: MEGa, https://arxiv.org/abs/2504.21239.
    Differs: the router attaches the nearest adapter instead of adding all of them weighted by nearness, because sums of
    fact adapters were measured to lose the facts; the training is that of the writer `lora`.
    """

    rank: int = 4
    rate: float = 2e-3
    most_steps: int = 60

    takes: ClassVar[frozenset[str]] = frozenset({"facts"})
    facts_a_shard: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("rank", "most_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not self.rate > 0:
            raise ConfigError(f"rate is {self.rate}: give a number above 0")

    @property
    def _lora(self) -> Lora:
        return Lora(rank=self.rank, rate=self.rate, most_steps=self.most_steps)

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost."""
        return self._lora.estimate(lesson, base)

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the adapter that knows the lesson; see `Writer.write`."""
        return self._lora.write(lesson, base, seed=seed, progress=progress)
