"""The role of a nearest-neighbour index."""

from pathlib import Path

import numpy as np


class Opened:
    """A nearest-neighbour index that is open for reading, by one thread at a time."""

    def find(self, vector: np.ndarray, num: int) -> np.ndarray:
        """Return about `num` places that are near, int64, in no order; each at most once.

        Args:
            vector: of the question, float32, shape (dims,), of length 1.
            num: 1 or more.

        Raises:
            StoreError: if the files cannot be read.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files."""


class Ann:
    """Builds and opens indexes that do not change; subclasses are frozen dataclasses, one a file."""

    def build(self, folder: Path, vectors: np.ndarray) -> None:
        """Write an index of vectors into an empty folder.

        Args:
            folder: exists and is empty.
            vectors: float16, shape (places, dims), rows of length 1.

        Raises:
            MissingExtraError: if a package is not installed.
            StoreError: if the folder cannot be written.
        """
        raise NotImplementedError

    def open(self, folder: Path) -> Opened:
        """Open what `build` wrote; its files are whole, which the caller has checked.

        Raises:
            MissingExtraError: if a package is not installed.
            StoreError: if the files cannot be read.
        """
        raise NotImplementedError
