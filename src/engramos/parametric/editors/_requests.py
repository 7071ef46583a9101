"""Requests of edits as tokens: where the subject ends, and what the prompt shall go on with."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import InvalidInputError
from engramos.parametric.editors.base import Request
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and its target, as tokens."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    at: int
    """Where the subject's last token stands in the prompt."""

    @property
    def ids(self) -> tuple[int, ...]:
        """What the model reads to be asked for every token of the target."""
        return (*self.prompt, *self.target[:-1])


def distinct(requests: Sequence[Request]) -> tuple[Request, ...]:
    """Return the requests, each once.

    Raises:
        InvalidInputError: if there are none, or one prompt is asked to go on in two ways.
    """
    if not requests:
        raise InvalidInputError("there is nothing to edit: give 1 or more requests")
    found: dict[tuple[str, bool], Request] = {}
    for request in requests:
        known = found.setdefault((" ".join(request.prompt.split()), request.is_chat), request)
        if known.target.strip() != request.target.strip():
            raise InvalidInputError(
                f"two edits let {request.prompt[:80]!r} go on with {known.target[:40]!r} and {request.target[:40]!r}: "
                f"keep the one that is true"
            )
    return tuple(found.values())


def row_of(request: Request, base: BaseModel, prefix: str = "") -> Row:
    """Return a request as tokens.

    Args:
        request: what is edited.
        base: whose tokens.
        prefix: a text that stands before the prompt; in the chat template, before the question.

    Raises:
        InvalidInputError: if the model's tokens do not show the subject.
        UnsupportedError: if the request is a chat and the model has no chat template.
    """
    text = f"{prefix} {request.prompt}".strip() if prefix else request.prompt.rstrip()
    if request.is_chat:
        message = [{"role": "user", "content": text}]
        prompt = base.chat_tokens(message)
        target = [*base.tokens(request.target.strip()), base.end_token]
        at = subject_end(base.chat_tokens(message, answers=False), request.subject, base)
    else:
        whole, prompt = base.tokens(f"{text} {request.target.strip()}"), base.tokens(text)
        # where the target changes how the prompt's end is cut into tokens, it begins earlier
        common = next((n for n, (a, b) in enumerate(zip(whole, prompt, strict=False)) if a != b), len(prompt))
        prompt, target = whole[:common], whole[common:]
        at = subject_end(prompt, request.subject, base)
    return Row(tuple(prompt), tuple(target), at)


def subject_end(token_ids: Sequence[int], subject: str, base: BaseModel) -> int:
    """Return the index of the token that ends the last place where the subject is named.

    Raises:
        InvalidInputError: if the tokens do not show it.
    """
    times = base.text(token_ids).count(subject)
    if not times:
        raise InvalidInputError(
            f"the model's tokens do not show the subject {subject[:60]!r}: write it as in the prompt"
        )
    low, high = 0, len(token_ids)
    while high - low > 1:
        middle = (low + high) // 2
        if base.text(token_ids[:middle]).count(subject) < times:
            low = middle
        else:
            high = middle
    return high - 1
