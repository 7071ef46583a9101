"""What a peer must do to be measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np


class Peer:
    """A store of texts with vectors; opening a folder again shows what was kept in it."""

    package: ClassVar[str]
    """Its distribution's name."""
    searches: ClassVar[str]
    """What its search reads."""
    has_batch: ClassVar[bool] = True

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        """Open the store in `folder`.

        Args:
            folder: of its own; it may hold what was kept before.
            known: the vector of every text and question; shape (384,), float32.
        """
        raise NotImplementedError

    def add(self, key: str, text: str) -> None:
        """Keep one text; what is acknowledged is what this returns after."""
        raise NotImplementedError

    def add_many(self, keys: Sequence[str], texts: Sequence[str]) -> None:
        """Keep many texts in one call."""
        raise NotImplementedError

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        raise NotImplementedError
