"""What an embedder promises."""

import importlib.util
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from engramos.errors import ConfigError, MissingExtraError, ModelError

T = TypeVar("T")


class Embedder(ABC):
    """Turns texts into vectors of length 1.

    Methods are frozen dataclasses: their fields are their parameters. Making one is cheap; a model is loaded at the
    first text. One embedder may be called from many threads at once. The vector of a text depends on that text and
    the parameters alone, not on the texts beside it in the same call.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Everything that changes the vectors, in one line: equal in every process, loads no model."""

    @property
    @abstractmethod
    def dims(self) -> int:
        """The length of one vector, > 0."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text, in the order of the texts.

        Args:
            texts: any text; one that is longer than the model reads counts with its beginning; an empty one still
                has a vector.

        Returns:
            (texts, dims), float32, finite, each row of length 1.

        Raises:
            MissingExtraError: if the method's package is not installed.
            ModelError: if the model fails.
        """

    def embed_query(self, text: str) -> np.ndarray:
        """Return the vector to search with; models with an instruction for queries put it before the text.

        Returns:
            (dims,), float32, finite, of length 1.

        Raises:
            MissingExtraError: if the method's package is not installed.
            ModelError: if the model fails.
        """
        return self.embed([text])[0]


class Lazy(Generic[T]):
    """A value that is made at its first use, once, whichever thread comes first; a failure is tried again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def get(self) -> T:
        """Return the value."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]


def unit_rows(vectors: np.ndarray, what: str) -> np.ndarray:
    """Return the rows scaled to length 1, as float32; a row of zeros becomes the first axis.

    Args:
        vectors: (texts, dims).
        what: the model, for the message.

    Raises:
        ModelError: if a value is not a finite number.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise ModelError(f"{what} gave a vector that holds NaN or infinity: check the model, then embed again")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    units[lengths[:, 0] == 0, 0] = 1.0
    return units.astype(np.float32)


def fingerprint(method: str, **parts: object) -> str:
    """Return the line that names a method and what changes its vectors: `hashing(dims=256)`."""
    return f"{method}({', '.join(f'{name}={value!r}' for name, value in parts.items())})"


def require_between(name: str, value: object, least: int, most: int) -> None:
    """Check a parameter that is a whole number.

    Raises:
        ConfigError: if it is none, or outside [least, most].
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}: give a whole number from {least} to {most}")


def require_text(name: str, value: object) -> None:
    """Check a parameter that must name something.

    Raises:
        ConfigError: if it is no text, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name} is {value!r}: give a name that is not empty")


def require_package(name: str, what: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises:
        MissingExtraError: if it is not; gives the pip line.
    """
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(what, extra)


def encodable(text: str) -> str:
    """Return the text with each lone surrogate, which no encoding can carry, as a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
