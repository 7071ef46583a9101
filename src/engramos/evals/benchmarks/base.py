"""The role of a benchmark: what is stored, what is asked, and which stored units answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from engramos.cube import MemCube
from engramos.importers.base import Importer

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
    category: str
    gold: Gold


@dataclass(frozen=True, slots=True)
class Part:
    """What one user's memory is filled with."""

    user: str
    path: Path
    importer: Importer


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

    @abstractmethod
    def load(self, data: Path) -> Loaded:
        """Return what to store and what to ask; reads all of it before any work is done.

        Args:
            data: the folder with evaluation data.

        Raises:
            ImportFailedError: if the file is missing, cut off, or of another format.
        """


def turn_of(cube: MemCube) -> str:
    """Return the id that a turn had where it came from."""
    return cube.header.source.ref


def session_of(cube: MemCube) -> str:
    """Return the session that a turn belongs to."""
    return cube.header.scope.session or ""
