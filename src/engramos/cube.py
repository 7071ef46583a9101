"""MemCube: one versioned unit of memory, a header and a payload.

All values here are frozen: a change makes a new version with the number after. The three forms of payload are described
without any tensor library; the bytes of the activation and parametric forms are blobs, named by their digest.

Source: MemOS, https://arxiv.org/abs/2507.03724, section on the MemCube.
Differs: two times, lineage to exact versions, and usage kept aside (ours, decision 0002).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from engramos.clock import from_us, to_us
from engramos.errors import InvalidInputError
from engramos.scope import Scope

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    """Return the empty mapping, the default of every mapping here."""
    return _EMPTY


class Form(StrEnum):
    """The form that a memory takes."""

    PLAINTEXT = "plaintext"
    ACTIVATION = "activation"
    PARAMETRIC = "parametric"


class CubeType(StrEnum):
    """What a cube is, within its form."""

    EPISODE = "episode"
    FACT = "fact"
    PROFILE = "profile"
    PROCEDURE = "procedure"
    RESOURCE = "resource"
    SECRET = "secret"
    PREFIX = "prefix"
    BLOCKS = "blocks"
    ADAPTER = "adapter"
    EDIT = "edit"
    DATASTORE = "datastore"


TYPES_OF_FORM = {
    Form.PLAINTEXT: ("episode", "fact", "profile", "procedure", "resource", "secret"),
    Form.ACTIVATION: ("prefix", "blocks"),
    Form.PARAMETRIC: ("adapter", "edit", "datastore"),
}


class State(StrEnum):
    """Where a cube stands in its lifecycle; `lifecycle.py` has the moves."""

    GENERATED = "generated"
    ACTIVATED = "activated"
    MERGED = "merged"
    ARCHIVED = "archived"
    EXPIRED = "expired"
    FROZEN = "frozen"


class Relation(StrEnum):
    """What an edge of the lineage says."""

    DERIVED_FROM = "derived_from"
    MERGED_FROM = "merged_from"
    SUPERSEDES = "supersedes"


@dataclass(frozen=True, slots=True)
class Edge:
    """From a cube's version to the exact version of a parent."""

    relation: Relation
    cube_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cube came from outside."""

    origin: str = "message"
    """`message`, `document`, `tool`, `import` or `derivation`."""
    ref: str = ""
    """The id or place there: a message id, a file and position."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A right on a cube that its owner gave away."""

    user: str
    """Who may, within the tenant."""
    right: str
    """`read` or `write`; `write` includes `read`."""

    def __post_init__(self) -> None:
        if self.right not in ("read", "write"):
            raise InvalidInputError(f"right is {self.right!r}: use read or write")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a cube may and must be kept."""

    expires_at: datetime | None = None
    """After this time it is returned by nothing and the next sweep erases it."""
    is_held: bool = False
    """A legal hold: it may not be erased, whatever `expires_at` says."""


@dataclass(frozen=True, slots=True)
class Header:
    """Who, when, from what, state and rights of one version of a cube."""

    cube_id: str
    version: int
    form: Form
    type: CubeType
    scope: Scope
    created_at: datetime
    """When the system knew this version."""
    state: State = State.ACTIVATED
    expired_at: datetime | None = None
    """When the system stopped to hold it true; set in state expired."""
    valid_at: datetime | None = None
    """Since when it is true in the world; for an episode, when it was said."""
    invalid_at: datetime | None = None
    """From when on it is no longer true in the world."""
    parents: tuple[Edge, ...] = ()
    method: str = "add"
    """The method that made this version."""
    parameters: Mapping[str, Any] = field(default_factory=nothing)
    """Its parameters."""
    model: str | None = None
    """Fingerprint of the model that made it; None where none did."""
    actor: str = ""
    """Who asked for this version."""
    source: Source = Source()
    trust: float = 1.0
    """In [0, 1]; a derived cube has the least of its parents'."""
    grants: tuple[Grant, ...] = ()
    labels: tuple[str, ...] = ()
    retention: Retention = Retention()

    def __post_init__(self) -> None:
        if self.version < 1:
            raise InvalidInputError(f"version is {self.version}: versions count from 1")
        if self.type not in TYPES_OF_FORM[self.form]:
            raise InvalidInputError(
                f"type {self.type} is none of form {self.form}: use {', '.join(TYPES_OF_FORM[self.form])}"
            )
        if not 0.0 <= self.trust <= 1.0:
            raise InvalidInputError(f"trust is {self.trust}: give a number from 0 to 1")
        if self.valid_at and self.invalid_at and self.invalid_at < self.valid_at:
            raise InvalidInputError(f"invalid_at {self.invalid_at} lies before valid_at {self.valid_at}")


@dataclass(frozen=True, slots=True)
class PlaintextPayload:
    """Text that a person can read, with typed attributes."""

    text: str
    role: str | None = None
    """`user`, `assistant`, `system`, `tool`; None for what nobody said."""
    speaker: str | None = None
    position: int | None = None
    """The place within its session or document, counted from 0."""
    title: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=nothing)
    """What else is known: JSON values."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ActivationPayload:
    """A KV cache, described: the tensors are a safetensors blob."""

    digest: str
    """SHA-256 of the blob, in hexadecimal."""
    num_bytes: int
    fingerprint: Mapping[str, str]
    """Of the model: weights, tokenizer, template, dtype, rope."""
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    """The position of each kept token; as long as the cache."""
    kept_ratio: float
    """Kept tokens by all tokens, in (0, 1]."""
    codec: str = "full"
    attributes: Mapping[str, Any] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True)
class ParametricPayload:
    """Weights of an adapter, an edit or a datastore, described: the tensors are a safetensors blob."""

    digest: str
    """SHA-256 of the blob, in hexadecimal."""
    num_bytes: int
    base_fingerprint: Mapping[str, str]
    probes: Mapping[str, float] = field(default_factory=nothing)
    """Results of the probes that gate activation, by name."""
    attributes: Mapping[str, Any] = field(default_factory=nothing)


Payload = PlaintextPayload | ActivationPayload | ParametricPayload
PAYLOAD_OF_FORM: dict[Form, type] = {
    Form.PLAINTEXT: PlaintextPayload,
    Form.ACTIVATION: ActivationPayload,
    Form.PARAMETRIC: ParametricPayload,
}


@dataclass(frozen=True, slots=True)
class MemCube:
    """One version of a cube."""

    header: Header
    payload: Payload

    def __post_init__(self) -> None:
        if not isinstance(self.payload, PAYLOAD_OF_FORM[self.header.form]):
            raise InvalidInputError(f"form {self.header.form} cannot carry a {type(self.payload).__name__}")

    @property
    def id(self) -> str:
        """The cube's id."""
        return self.header.cube_id

    @property
    def version(self) -> int:
        """The number of this version, from 1."""
        return self.header.version

    @property
    def text(self) -> str:
        """The text of a plaintext cube; empty for the other forms."""
        return self.payload.text if isinstance(self.payload, PlaintextPayload) else ""

    @property
    def digest(self) -> str:
        """SHA-256 of the payload's bytes."""
        return self.payload.digest

    @property
    def blob(self) -> str | None:
        """The digest of the blob it refers to, if its payload is one."""
        return None if isinstance(self.payload, PlaintextPayload) else self.payload.digest


@dataclass(frozen=True, slots=True)
class Usage:
    """How a cube is used: kept beside the version chain, because it changes without a new version."""

    uses: int = 0
    last_used_at: datetime | None = None
    strength: float = field(default=1.0)
    """In [0, 1]: what forgetting rules work on."""


encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""Compact JSON with sorted keys: the same value always gives the same text."""

_NO_RETENTION = Retention()
_TIMES = ("created_at", "expired_at", "valid_at", "invalid_at")


def header_to_json(header: Header) -> str:
    """Return a header as compact JSON; what has its default value is left out."""
    scope = header.scope
    table: dict[str, Any] = {
        "id": header.cube_id,
        "v": header.version,
        "form": header.form.value,
        "type": header.type.value,
        "scope": [scope.tenant, scope.user, scope.agent, scope.session],
        "state": header.state.value,
        "method": header.method,
        "actor": header.actor,
        "source": [header.source.origin, header.source.ref],
    }
    for name in _TIMES:
        if (at := getattr(header, name)) is not None:
            table[name] = to_us(at)
    if header.parents:
        table["parents"] = [[edge.relation.value, edge.cube_id, edge.version] for edge in header.parents]
    if header.parameters:
        table["parameters"] = dict(header.parameters)
    if header.model is not None:
        table["model"] = header.model
    if header.trust != 1.0:
        table["trust"] = header.trust
    if header.grants:
        table["grants"] = [[grant.user, grant.right] for grant in header.grants]
    if header.labels:
        table["labels"] = list(header.labels)
    if header.retention != _NO_RETENTION:
        expires_at = header.retention.expires_at
        table["retention"] = [None if expires_at is None else to_us(expires_at), header.retention.is_held]
    return encode(table)


def header_from_json(text: str) -> Header:
    """Return the header that `header_to_json` wrote."""
    table = json.loads(text)
    times = {name: from_us(table[name]) for name in _TIMES if name in table}
    expires_us, is_held = table.get("retention", (None, False))
    return Header(
        cube_id=table["id"],
        version=table["v"],
        form=Form(table["form"]),
        type=CubeType(table["type"]),
        scope=Scope(*table["scope"]),
        state=State(table["state"]),
        parents=tuple(Edge(Relation(name), cube_id, version) for name, cube_id, version in table.get("parents", ())),
        method=table["method"],
        parameters=table.get("parameters", _EMPTY),
        model=table.get("model"),
        actor=table["actor"],
        source=Source(*table["source"]),
        trust=table.get("trust", 1.0),
        grants=tuple(Grant(*pair) for pair in table.get("grants", ())),
        labels=tuple(table.get("labels", ())),
        retention=Retention(None if expires_us is None else from_us(expires_us), is_held),
        **times,
    )


def payload_to_json(payload: Payload) -> str:
    """Return a payload as compact JSON, without the text of a plaintext payload, which is stored beside it."""
    table: dict[str, Any] = {}
    for name in type(payload).__dataclass_fields__:
        value = getattr(payload, name)
        if value is None or value is _EMPTY or name == "text":
            continue
        # asking whether a text is a mapping costs more than all the rest
        if not isinstance(value, str | int) and isinstance(value, Mapping):
            value = dict(value)
            if not value:
                continue
        table[name] = value
    return encode(table)


def payload_from_json(form: Form, text: str, plaintext: str | None) -> Payload:
    """Return the payload that `payload_to_json` wrote; `plaintext` is the text stored beside it."""
    table = json.loads(text)
    if form is Form.PLAINTEXT:
        return PlaintextPayload(text=plaintext or "", **table)
    for name in ("token_ids", "positions"):
        if name in table:
            table[name] = tuple(table[name])
    table.setdefault("fingerprint" if form is Form.ACTIVATION else "base_fingerprint", {})
    return PAYLOAD_OF_FORM[form](**table)
