"""What comes in: messages of a conversation and documents, checked before anything is stored."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engramos.errors import InvalidInputError, QuotaExceededError
from engramos.scope import check_name

MAX_TEXT_BYTES = 1_000_000
MAX_DOCUMENT_BYTES = 100_000_000
ROLES = ("user", "assistant", "system", "tool")


def check_text(what: str, text: object, limit_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return `text` if it can be stored: every character is kept exactly as it is.

    Right-to-left, zero-width and unusual text is fine; what cannot be written to a file and read back is not.

    Raises:
        InvalidInputError: if it is no string, is empty, holds NUL or half of a surrogate pair.
        QuotaExceededError: if it is longer than `limit_bytes` in UTF-8.
    """
    if isinstance(text, bytes | bytearray | memoryview):
        raise InvalidInputError(f"{what} is {type(text).__name__}, not text: decode it, or import it as a file")
    if not isinstance(text, str):
        raise InvalidInputError(f"{what} is {type(text).__name__}, not text")
    if not text.strip():
        raise InvalidInputError(f"{what} is empty: give some text")
    if (at := text.find("\0")) >= 0:
        raise InvalidInputError(f"{what} holds a NUL at character {at}: is it a binary file? import it as one")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} holds half of a surrogate pair at character {error.start}: decode it with errors='replace'"
        ) from error
    if size > limit_bytes:
        raise QuotaExceededError(f"the size of {what} in bytes", limit_bytes, size)
    return text


def check_time(what: str, at: object) -> datetime:
    """Return an aware time in UTC.

    Raises:
        InvalidInputError: if `at` is no datetime or has no time zone.
    """
    if not isinstance(at, datetime):
        raise InvalidInputError(f"{what} is {at!r}: give a datetime with a time zone")
    if at.tzinfo is None or at.utcoffset() is None:
        raise InvalidInputError(f"{what} is {at.isoformat()} without a time zone: add one, as in tzinfo=UTC")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInputError(f"{what} is {at.isoformat()}: outside the years 1 to 9999 in UTC") from error


def check_labels(labels: object) -> tuple[str, ...]:
    """Return labels, each once; the index keeps them between bars, so none may hold one.

    Raises:
        InvalidInputError: if they are one text, or one cannot be a label.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise InvalidInputError(f"labels are {labels!r}: give a list of them")
    kept = tuple(dict.fromkeys(check_name("label", label) for label in labels))
    for label in kept:
        if "|" in label:
            raise InvalidInputError(f"label {label!r} holds a '|': leave it out")
    return kept


def check_trust(trust: object, what: str = "trust") -> float:
    """Return a trust, a number from 0 to 1.

    Raises:
        InvalidInputError: if it is none.
    """
    if isinstance(trust, bool) or not isinstance(trust, int | float) or not 0.0 <= trust <= 1.0:
        raise InvalidInputError(f"{what} is {trust!r}: give a number from 0 to 1")
    return float(trust)


def check_role(role: object) -> str:
    """Return a message's role, `user`, `assistant`, `system` or `tool`.

    Raises:
        InvalidInputError: if it is none of these.
    """
    if role not in ROLES:
        raise InvalidInputError(f"role is {role!r}: use one of {', '.join(ROLES)}")
    return role


def read_time(text: str) -> datetime:
    """Return the time that an ISO 8601 text names; without a time zone it is taken as UTC.

    Raises:
        InvalidInputError: if the text names no time.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError) as error:
        raise InvalidInputError(f"{text!r} is no date: write 2024-05-31 or 2024-05-31T18:30:00+02:00") from error
    return check_time("date", at if at.tzinfo else at.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Raises:
        InvalidInputError: if a field cannot be stored.
        QuotaExceededError: if the text is longer than 1 MB.
    """

    text: str
    role: str = "user"
    speaker: str | None = None
    """Who said it, by name; None means the role."""
    at: datetime | None = None
    """When it was said; aware."""
    session: str | None = None
    """The conversation it belongs to."""
    message_id: str | None = None
    """Its id where it came from, such as LoCoMo's `D1:3`."""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_text("message text", self.text)
        check_role(self.role)
        if self.at is not None:
            object.__setattr__(self, "at", check_time("message time", self.at))
        for what, value in (("speaker", self.speaker), ("session", self.session), ("message id", self.message_id)):
            if value is not None:
                check_name(what, value)
        object.__setattr__(self, "labels", check_labels(self.labels))


@dataclass(frozen=True, slots=True)
class Document:
    """A text that nobody said: a file, a page, a note. It is stored in parts that a search can find.

    Raises:
        InvalidInputError: if a field cannot be stored.
        QuotaExceededError: if the text is longer than 100 MB.
    """

    text: str
    title: str
    at: datetime | None = None
    """When it was written, if known; aware."""
    document_id: str | None = None
    """Its id where it came from; None means the title."""
    labels: tuple[str, ...] = ()
    is_markdown: bool = False
    """Whether headings split it first."""

    def __post_init__(self) -> None:
        check_text("document text", self.text, MAX_DOCUMENT_BYTES)
        check_name("document title", self.title)
        if self.document_id is not None:
            check_name("document id", self.document_id)
        if self.at is not None:
            object.__setattr__(self, "at", check_time("document time", self.at))
        object.__setattr__(self, "labels", check_labels(self.labels))


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a file that could not be read: where, and why."""

    position: str
    """Where in the file: `line 12`, `conversations[3].mapping["a1"]`, `page 4`."""
    problem: str
    """What is wrong with it."""
    text: str = field(default="", repr=False)
    """The first characters of what stands there."""
