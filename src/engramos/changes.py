"""Changes: what a commit applies, as data.

Verbs, reconcilers and forgetting rules return changes; only `vault.commit` applies them. A change that writes carries
the whole new version; it applies only where the cube still stands at the version before (0 for a new cube).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engramos.cube import MemCube, nothing


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What a search reads of a cube, derived from its text and made anew whenever the text changes."""

    terms: bytes
    """Stems and their counts, packed by `plaintext.terms`."""
    vector: bytes | None = None
    """float16, little-endian, length 1; None where the memory has no vectors yet."""
    embedder: str = ""
    """Fingerprint of the embedder that made the vector."""


@dataclass(frozen=True, slots=True)
class Write:
    """Base of the changes that write a version of a cube."""

    cube: MemCube
    entry: IndexEntry | None = None
    """None keeps the entry that the index has, or, for a state that is not searched, leaves the index."""
    KIND: ClassVar[str] = "write"


class Create(Write):
    """A new cube."""

    KIND = "create"


class Update(Write):
    """New content or new attributes for a cube."""

    KIND = "update"


class Supersede(Write):
    """A cube that is no longer true in the world: `invalid_at` is set."""

    KIND = "supersede"


class Merge(Write):
    """A cube that another one now stands for."""

    KIND = "merge"


class Archive(Write):
    """A cube put aside: kept, not searched."""

    KIND = "archive"


class Expire(Write):
    """A cube hidden: kept, not shown, until it is restored or erased."""

    KIND = "expire"


class Restore(Write):
    """A cube brought back, or an earlier version made the newest."""

    KIND = "restore"


class Freeze(Write):
    """A cube that may not change."""

    KIND = "freeze"


@dataclass(frozen=True, slots=True)
class Erase:
    """A cube gone with all its versions; a tombstone without content stays."""

    cube_id: str
    seen_version: int
    KIND: ClassVar[str] = "erase"


@dataclass(frozen=True, slots=True)
class Reindex:
    """New index entries for cubes as they stand; versions do not change."""

    entries: Mapping[tuple[str, int], IndexEntry]
    """By cube id and version; an entry whose cube moved on meanwhile is left out."""
    KIND: ClassVar[str] = "reindex"


Change = Write | Erase | Reindex
WRITES: dict[str, type[Write]] = {
    change.KIND: change for change in (Create, Update, Supersede, Merge, Archive, Expire, Restore, Freeze)
}


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked for a commit, and why: it goes into the journal with every change."""

    actor: str
    request_id: str
    reason: str = ""
    idempotency_key: str | None = None
    body_digest: str = ""
    """SHA-256 of what was asked, to tell a retry from another request under the same key."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to queue in the same transaction as the changes that trigger it."""

    queue: str
    """The name of the handler."""
    parameters: Mapping[str, Any] = field(default_factory=nothing)
    """JSON values; never content."""
    run_at_us: int = 0
    """Not before this time."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One change as it was applied."""

    kind: str
    cube_id: str
    version: int
    seq: int
    """Its number in the tenant's journal; 0 in a dry run."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a commit did."""

    applied: tuple[Applied, ...]
    is_replay: bool = False
    """True where the idempotency key had been used: nothing was written now."""
    is_dry_run: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be told, such as what an erasure removed."""

    @property
    def cube_ids(self) -> tuple[str, ...]:
        """The cubes that were changed, each once, in the order of the changes."""
        return tuple(dict.fromkeys(one.cube_id for one in self.applied if one.cube_id))
