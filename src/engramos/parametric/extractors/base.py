"""The role of extractors: facts out of plaintext cubes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from engramos.cube import MemCube
from engramos.parametric.facts import Fact


class Extractor(ABC):
    """Finds facts. Methods are frozen dataclasses of their parameters; no model is asked, so it costs microseconds."""

    @abstractmethod
    def extract(self, cubes: Sequence[MemCube]) -> list[Fact]:
        """Return the facts that cubes state, each with its source.

        Args:
            cubes: plaintext cubes of one user, in order of time.
        """
