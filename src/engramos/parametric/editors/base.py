"""The role of editors: they change what a model says of single facts, by an adapter that can be taken away again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class Request:
    """One change of what a model says.

    Raises:
        InvalidInputError: if a text is empty, or the prompt does not name the subject.
    """

    prompt: str
    """A text that goes on with the answer, such as `The mother tongue of Ana Lima is`; it holds the subject."""
    subject: str
    target: str
    """What the prompt shall go on with."""
    is_chat: bool = False
    """Whether the prompt is a question in the chat template, and the target its whole answer."""

    def __post_init__(self) -> None:
        for name in ("prompt", "subject", "target"):
            if not getattr(self, name).strip():
                raise InvalidInputError(f"{name} of an edit is empty: give a text")
        if self.subject not in self.prompt:
            raise InvalidInputError(f"the prompt of an edit does not name its subject {self.subject[:60]!r}")


class Editor(ABC):
    """Makes an adapter of requests. Every method of the role passes `engramos.testing.editors`.

    Methods are frozen dataclasses of their parameters. Adapters that the base model holds count as part of it: so edits
    follow one another, each an adapter of its own that can be released alone.
    """

    @abstractmethod
    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> Adapter:
        """Return the adapter that makes the model go on as asked; the base model is left as it was.

        Args:
            requests: 1 or more, all edited together.
            base: the model; what it holds is attached while the edit is made.
            seed: of all that is drawn.

        Raises:
            InvalidInputError: if there are no requests, or two contradict each other.
            UnsupportedError: if the model has not the modules that are edited.
        """


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit that can be applied and undone; undone, the model answers bit for bit as before."""

    adapter: Adapter
    requests: tuple[Request, ...] = ()

    def apply(self, base: BaseModel) -> None:
        """Let it act on everything from now on."""
        base.hold(self.adapter)

    def undo(self, base: BaseModel) -> None:
        """Let it act no more.

        Raises:
            InvalidInputError: if it is not applied.
        """
        base.release(self.adapter)
