"""The role of a benchmark: what is stored, what is asked, and which stored units answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from engramos.cube import MemCube
from engramos.evals.metrics import KS, distinct, scores
from engramos.messages import Document, Message

Gold = Mapping[str, frozenset[str]]
"""By level, such as `turn` or `session`: the names of the units that answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question and what answers it."""

    question_id: str
    """Unique in its benchmark, the same in every run."""
    user: str
    """In whose memory the answer lies."""
    text: str
    asked_at: datetime
    """The conversation's clock."""
    categories: tuple[str, ...]
    """The groups that means are also taken over: `("temporal",)`, or `("100K", "event_ordering")`."""
    gold: Gold
    """At least one level; one that the data say nothing about is left out, and not measured for this question."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one user's memory is filled with."""

    user: str
    records: Sequence[Message | Document]


class Searching(Protocol):
    """A search with everything but its words given."""

    def __call__(self, text: str, limit: int) -> Sequence[MemCube]:
        """Return at most `limit` found cubes, best first."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one method made of one question."""

    metrics: Mapping[str, Mapping[str, float]]
    """By level; the level `""` is for metrics without a level, such as `newest`."""
    found: Sequence[str]
    """The first units of the first level, best first."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A benchmark's data, read and checked."""

    parts: Sequence[Part]
    questions: Sequence[Question]
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was repaired and what was left out, by name."""


class Benchmark(ABC):
    """One benchmark; subclasses are frozen dataclasses, one a file."""

    levels: ClassVar[Mapping[str, Callable[[MemCube], str]]]
    """By level: the name of the unit that a found cube is a part of. The first level is the one shown by category."""
    ks: ClassVar[tuple[int, ...]] = KS
    """The depths at which recall is read."""
    shown: ClassVar[tuple[str, ...]] = ("fraction@10",)
    """The metrics of the first level that are shown by category."""
    depth: ClassVar[int] = 200
    """How many cubes are read of a ranking, so that coarser levels can be read from it too."""

    @abstractmethod
    def load(self, data: Path) -> Loaded:
        """Return what to store and what to ask; reads all of it before any work is done.

        Args:
            data: the folder with evaluation data.

        Raises:
            ImportFailedError: if the file is missing, cut off, or of another format.
        """

    def answer(self, search: Searching, question: Question) -> Answered:
        """Search for a question and measure what is found: recall of its gold units, by each level that it has."""
        cubes = search(question.text, self.depth)
        ranked = {level: distinct([unit(cube) for cube in cubes]) for level, unit in self.levels.items()}
        metrics = {
            level: scores(units, question.gold[level], self.ks)
            for level, units in ranked.items()
            if level in question.gold
        }
        return Answered(metrics, ranked[next(iter(self.levels))][:SHOWN])


SHOWN = 20
"""How many found units are kept of each question."""


def turn_of(cube: MemCube) -> str:
    """Return the id that a turn had where it came from."""
    return cube.header.source.ref


def session_of(cube: MemCube) -> str:
    """Return the session that a turn belongs to."""
    return cube.header.scope.session or ""
