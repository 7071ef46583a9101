"""What an engine promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen, and when the answer ends."""

    max_tokens: int = 256
    """At most so many new tokens; 1 or more."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, the softmax of scores divided by it is drawn from."""
    top_p: float = 1.0
    """Of the likeliest tokens, those that together reach this probability; in (0, 1]."""
    seed: int = 0
    """Of the draws."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}: give 1 or more")
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(f"temperature is {self.temperature}: give 0 to 100")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p is {self.top_p}: give a number above 0, up to 1")
        if any(not text for text in self.stop):
            raise ConfigError("a stop text is empty: give texts of 1 or more letters")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer, as it is produced."""

    text: str
    """New text; empty while a letter or a possible stop text is not complete."""
    token_ids: tuple[int, ...]
    """The new tokens."""
    reason: str | None = None
    """Why the answer ends here: `end` (the model's own), `stop`, `max_tokens`, `window` (no room in the model's)."""


class Engine(ABC):
    """A local model that reads tokens, produces tokens, and lets KV caches be attached to it.

    An engine serves one request at a time; calls from other threads wait. A cache belongs to one sequence.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> Mapping[str, str]:
        """Everything that changes a cache's numbers, by name: weights, config, tokenizer, template, dtype, rope."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """The length of the model's own window, in tokens."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many tokens the model knows."""

    @abstractmethod
    def tokens(self, text: str) -> list[int]:
        """Return a text as tokens, without special ones."""

    @abstractmethod
    def chat_tokens(self, messages: Sequence[Mapping[str, str]], *, answers: bool = True) -> list[int]:
        """Return a conversation as tokens, in the model's chat template.

        Args:
            messages: `role` and `content` each.
            answers: whether the model is to answer next.

        Raises:
            UnsupportedError: if the model has no chat template.
        """

    @abstractmethod
    def text(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, special ones left out."""

    @abstractmethod
    def new_cache(self, keeping: Any = None) -> Any:
        """Return a cache that has read nothing."""

    @abstractmethod
    def attach(self, stored: Any, keeping: Any = None) -> Any:
        """Return a cache that begins with stored tensors; they are read in place and never changed.

        Raises:
            ModelMismatchError: if another model made them.
        """

    @abstractmethod
    def detach(self, cache: Any) -> Any:
        """Return what a cache keeps, as tensors to be stored."""

    @abstractmethod
    def prefill(self, token_ids: Sequence[int], cache: Any, *, question_tokens: int = 0) -> Any:
        """Read tokens into a cache, and return the scores of the token that comes next: (vocabulary,).

        Raises:
            ContextLengthError: if they do not fit the model's window.
        """

    @abstractmethod
    def generate(self, scores: Any, cache: Any, sampling: Sampling) -> Iterator[Piece]:
        """Yield the answer, piece by piece, that follows on what the cache has read.

        Args:
            scores: of the next token, as `prefill` returned them.
            cache: it grows by what is produced, but for the last token.
            sampling: how tokens are chosen, and when it ends.
        """
