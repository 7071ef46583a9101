"""add: keep messages and documents, word for word."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from engramos.changes import Create, Receipt
from engramos.clock import new_id, now
from engramos.cube import (
    CubeType,
    Form,
    Header,
    MemCube,
    PlaintextPayload,
    Retention,
    Source,
    encode,
)
from engramos.errors import InvalidInputError
from engramos.importers._chat import read_message
from engramos.messages import Document, Message, Problem, check_labels, check_text, check_time, check_trust
from engramos.plaintext.passages import passages
from engramos.scope import Scope, check_name
from engramos.verbs.parts import Parts, with_entries

Input = str | Message | Document | Mapping[str, Any]
"""A text, a message, a document, or a message as OpenAI and Anthropic write it."""

NO_TIME, MOST = timedelta(0), timedelta(days=365_250)
_TYPES = frozenset(one.value for one in CubeType)


@dataclass(frozen=True, slots=True)
class AddOptions:
    """What holds for all items of one `add`.

    Raises:
        InvalidInputError: if a value does not fit.
    """

    type: str = "episode"
    """Of messages and texts; documents are always resources."""
    speaker: str | None = None
    session: str | None = None
    at: datetime | None = None
    """When it was said, for items that do not say so themselves; now where None."""
    labels: tuple[str, ...] = ()
    trust: float = 1.0
    keep_for: timedelta | None = None
    """Erased after this time; None keeps it."""
    is_held: bool = False
    """A legal hold."""
    origin: str = "message"

    def __post_init__(self) -> None:
        if self.at is not None:
            object.__setattr__(self, "at", check_time("at", self.at))
        for what, value in (("speaker", self.speaker), ("session", self.session)):
            if value is not None:
                check_name(what, value)
        object.__setattr__(self, "labels", check_labels(self.labels))
        object.__setattr__(self, "trust", check_trust(self.trust))
        if self.keep_for is not None and not (isinstance(self.keep_for, timedelta) and NO_TIME < self.keep_for < MOST):
            raise InvalidInputError(f"keep_for is {self.keep_for!r}: give a timedelta above 0 and below 1,000 years")
        if not isinstance(self.is_held, bool):
            raise InvalidInputError(f"is_held is {self.is_held!r}: give True or False")


def add(
    parts: Parts,
    items: Input | Iterable[Input],
    scope: Scope,
    options: AddOptions,
    *,
    idempotency_key: str | None = None,
    dry_run: bool = False,
) -> Receipt:
    """Store items as cubes, durably and all together, and return the receipt with their ids.

    When it returns, they are found by search, list and get. No model but the embedder is asked.

    Args:
        parts: of the open memory.
        items: one, or many in their order.
        scope: whose they are.
        options: what holds for all of them.
        idempotency_key: a retry with the same key and content stores nothing and returns the first receipt.
        dry_run: check everything and store nothing.

    Raises:
        InvalidInputError: if an item cannot be stored; nothing is stored then.
        QuotaExceededError: if a text is too long.
        IdempotencyConflictError: if the key was used for other content.
    """
    records, body = list(read_items(items)), ""
    if idempotency_key is not None:
        check_name("idempotency key", idempotency_key)
        body = body_digest(records, options)
        if known := parts.vault.known_receipt(scope, idempotency_key, body):
            return known
    cubes = [cube for placed in with_places(records, {}) for cube in cubes_of(placed, scope, options)]
    changes = with_entries(parts, Create, cubes)
    return parts.commit(
        changes, scope, idempotency_key=idempotency_key, body_digest=body, dry_run=dry_run, reason="add"
    )


def read_items(items: Input | Iterable[Input]) -> Iterable[Message | Document]:
    """Yield the messages and documents that the items are.

    Raises:
        InvalidInputError: if one cannot be stored; the message says which.
    """
    several = [items] if isinstance(items, str | bytes | Message | Document | Mapping) else items
    if not isinstance(several, Iterable):
        raise InvalidInputError(f"{type(items).__name__} cannot be added: give a text, a message or a document")
    num = 0
    for num, item in enumerate(several, start=1):
        if isinstance(item, Message | Document):
            yield item
        elif isinstance(item, Mapping):
            for record in read_message(dict(item), f"item {num}"):
                if isinstance(record, Problem):
                    raise InvalidInputError(f"{record.position}: {record.problem}")
                yield record
        else:
            yield Message(check_text(f"item {num}", item))
    if num == 0:
        raise InvalidInputError("there is nothing to add: give at least one item")


def body_digest(records: Sequence[Message | Document], options: AddOptions) -> str:
    """Return the SHA-256 of all that is asked to be added, to tell a retry from another request."""
    return hashlib.sha256(encode([[_body(record) for record in records], _body(options)]).encode()).hexdigest()


def _body(record: Any) -> list[str]:
    return [repr(getattr(record, name)) for name in record.__dataclass_fields__]


def with_places(
    records: Iterable[Message | Document], places: dict[str | None, int]
) -> Iterable[tuple[Message | Document, int]]:
    """Yield records with their places within their sessions; `places` holds the next place of each session."""
    for record in records:
        place = 0
        if isinstance(record, Message):
            place = places.get(record.session, 0)
            places[record.session] = place + 1
        yield record, place


def cubes_of(placed: tuple[Message | Document, int], scope: Scope, options: AddOptions) -> Iterable[MemCube]:
    """Yield the cubes that a record becomes: one for a message, one a passage for a document."""
    record, place = placed
    if isinstance(record, Document):
        yield from _document_cubes(record, scope, options)
        return
    header = _header(scope, options, record.at, record.labels, record.session or options.session, record.message_id)
    speaker = record.speaker or options.speaker
    yield MemCube(header, PlaintextPayload(record.text, record.role, speaker, place))


def _document_cubes(document: Document, scope: Scope, options: AddOptions) -> Iterable[MemCube]:
    name = document.document_id or document.title
    settled = replace(options, type="resource", origin="document")
    for place, part in enumerate(passages(document.text, is_markdown=document.is_markdown)):
        header = _header(scope, settled, document.at, document.labels, name, f"{name}#{place}")
        yield MemCube(header, PlaintextPayload(part, position=place, title=document.title))


def _header(
    scope: Scope,
    options: AddOptions,
    at: datetime | None,
    labels: tuple[str, ...],
    session: str | None,
    ref: str | None,
) -> Header:
    created_at = now()
    if options.type not in _TYPES:
        raise InvalidInputError(f"type {options.type!r} is unknown: use episode, fact, profile, procedure, resource")
    expires_at = None if options.keep_for is None else created_at + options.keep_for
    return Header(
        cube_id=new_id(),
        version=1,
        form=Form.PLAINTEXT,
        type=CubeType(options.type),
        scope=Scope(scope.tenant, scope.user, scope.agent, session) if session else scope,
        created_at=created_at,
        valid_at=at or options.at or created_at,
        actor=scope.user if scope.agent is None else f"{scope.user}/{scope.agent}",
        source=Source(options.origin, ref or ""),
        trust=options.trust,
        labels=tuple(dict.fromkeys((*labels, *options.labels))),
        retention=Retention(expires_at, options.is_held),
    )
