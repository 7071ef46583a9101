"""Rows that a vault gives to the pure methods: what a search index and a journal are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from engramos.cube import CubeType, Form, State
from engramos.errors import InvalidInputError
from engramos.messages import check_text, check_time, check_trust

MAX_FILTER_BYTES = 10_000


class IndexRow(NamedTuple):
    """What a search knows of one cube; times are microseconds since 1970, UTC."""

    cube_id: str
    version: int
    agent: str | None
    session: str | None
    position: int | None
    type: str
    created_us: int
    valid_us: int | None
    invalid_us: int | None
    expires_us: int | None
    trust: float
    speaker: str | None
    labels: str
    terms: bytes
    vector: bytes | None
    cube_key: int
    """A number that is unique in the vault and grows with each new cube."""


@dataclass(frozen=True, slots=True)
class IndexDelta:
    """What changed in a user's index since a given place in the journal."""

    seq: int
    """The place in the journal that this delta reaches."""
    is_full: bool
    """True where the rows are the whole index and the reader starts anew."""
    rows: tuple[IndexRow, ...]
    gone: tuple[str, ...] = ()
    """Ids of cubes that are no longer searched."""
    embedder_key: int = 0
    """Stands for the embedder that made the rows' vectors, unique in the vault; 0 for none."""
    embedder: str | None = None
    """Its fingerprint."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One change, as the journal keeps it."""

    seq: int
    user: str
    at: datetime
    kind: str
    cube_id: str
    version: int
    actor: str
    request_id: str
    reason: str
    seal: bytes
    """Salted SHA-256 of the version as it was written; empty for an erasure."""
    hash: bytes
    """SHA-256 of this row and of the hash before it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cubes of a scope are meant; what is not given does not narrow.

    Raises:
        InvalidInputError: if a number is negative or a name is none of its enumeration.
    """

    types: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    speaker: str | None = None
    label: str | None = None
    source_ref: str | None = None
    """The id it had where it came from."""
    since: datetime | None = None
    """Valid at or after this time."""
    until: datetime | None = None
    """Valid before this time."""
    min_trust: float | None = None
    match: str | None = None
    """A full-text query: words, "a phrase", AND, OR, NOT, prefix*."""

    def __post_init__(self) -> None:
        self._check_texts()
        for what, given, known in (
            ("type", self.types, CubeType),
            ("form", self.forms, Form),
            ("state", self.states, State),
        ):
            for name in given:
                if name not in list(known):
                    raise InvalidInputError(f"{what} {name!r} is unknown: use {', '.join(known)}")
        if self.min_trust is not None:
            check_trust(self.min_trust, "min_trust")
        for what in ("since", "until"):
            if (at := getattr(self, what)) is not None:
                object.__setattr__(self, what, check_time(what, at))

    def _check_texts(self) -> None:
        for what in ("types", "forms", "states"):
            if isinstance(given := getattr(self, what), str) or not isinstance(given, Iterable):
                raise InvalidInputError(f"{what} is {given!r}: give a tuple of names")
            object.__setattr__(self, what, tuple(given))
        for what in ("speaker", "label", "source_ref", "match"):
            if (value := getattr(self, what)) is not None:
                check_text(what, value, MAX_FILTER_BYTES)
        if self.label is not None and "|" in self.label:
            raise InvalidInputError(f"label {self.label!r} holds a '|', and no label does")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of an erased cube: that it was there."""

    cube_id: str
    erased_at: datetime
    num_versions: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `verify` found wrong."""

    what: str
    """`version`, `index`, `vector`, `blob`, `journal`, `lineage`, `database`, `text_index`."""
    which: str
    problem: str
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class LeasedJob:
    """A job that a worker may run until its lease ends."""

    tenant: str
    job_key: int
    queue: str
    parameters: Mapping[str, Any]
    attempts: int
    fence: int
    """Grows with each lease: a worker that was overtaken is refused by it."""
