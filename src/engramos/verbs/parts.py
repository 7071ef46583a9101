"""What the verbs of one open memory share."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engramos.changes import Change, IndexEntry, Receipt, Request, Write
from engramos.clock import new_id, now
from engramos.config import Settings
from engramos.cube import MemCube, PlaintextPayload
from engramos.embedders import ROLE as EMBEDDERS
from engramos.embedders._rerank_models import RerankModels
from engramos.embedders.base import Embedder
from engramos.errors import CorruptPayloadError, EmbedderMismatchError, InvalidInputError
from engramos.governance.access import check
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import marks_of
from engramos.plaintext.terms import date_words, pack, terms
from engramos.scheduler.triggers import triggered_by
from engramos.scope import Scope
from engramos.vault.ann import ROLE as ANN
from engramos.vault.ann_cache import Nearest, folder_of
from engramos.vault.sqlite.vault import SqliteVault

MAX_LIMIT = 10_000


@dataclass(slots=True)
class Parts:
    """The vault, the embedder and the search indexes of an open memory."""

    vault: SqliteVault
    settings: Settings
    indexes: OrderedDict[tuple[str, str], SearchIndex] = field(default_factory=OrderedDict)
    uses: dict[str, dict[str, int]] = field(default_factory=dict)
    """Uses by tenant and cube that are not stored yet."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    made_embedder: Embedder | None = None
    models: RerankModels = field(default_factory=RerankModels)
    """Those that rerankers use."""
    observers: list[Callable[[Sequence[Change]], None]] = field(default_factory=list)
    """Called with the changes of each commit of this process once it is acknowledged."""

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the settings; None where they say `none`."""
        if self.settings.embedder == "none":
            return None
        with self.lock:
            if self.made_embedder is None:
                self.made_embedder = make_embedder(self.settings)
            return self.made_embedder

    def check_embedder(self) -> None:
        """Compare the settings' embedder with the one that made the memory's vectors.

        Raises:
            EmbedderMismatchError: if they differ.
        """
        self.check_made_by(self.vault.embedder())

    def check_made_by(self, stored: str | None) -> None:
        """Compare the settings' embedder with the fingerprint of the one that made some vectors.

        Raises:
            EmbedderMismatchError: if they differ.
        """
        embedder = self.embedder
        if stored is not None and embedder is not None and stored != embedder.fingerprint:
            raise EmbedderMismatchError(stored, embedder.fingerprint)

    def index(self, scope: Scope) -> SearchIndex:
        """Return the search index of a user, in step with all that was acknowledged before this call."""
        key = (scope.tenant, scope.user)
        with self.lock:
            index = self.indexes.pop(key, None) or SearchIndex()
            delta = self.vault.index_delta(scope, index.seq, index.embedder_key)
            if delta is not None:
                # another process may have switched the embedder since
                self.check_made_by(delta.embedder)
                try:
                    index.apply(delta)
                except (OverflowError, ValueError, TypeError) as error:
                    raise CorruptPayloadError(f"the search index of {scope}", "unknown", "unreadable") from error
            self._keep_near(scope, index)
            self.indexes[key] = index
            while len(self.indexes) > 1 and sum(one.num_bytes for one in self.indexes.values()) > (
                self.settings.index_bytes
            ):
                self.indexes.popitem(last=False)
            return index

    def _keep_near(self, scope: Scope, index: SearchIndex) -> None:
        """Give a great index a nearest-neighbour index, and take it from one that has become small."""
        if self.settings.ann == "none" or index.num_alive < self.settings.ann_from:
            index.near = None
        elif index.near is None:

            def is_kept(seq: int, embedder_key: int) -> bool:
                delta = self.vault.index_delta(scope, seq, embedder_key)
                return delta is None or not (delta.is_full or delta.gone)

            index.near = Nearest(ANN.parse(self.settings.ann), folder_of(self.vault.folder, scope), is_kept)

    def entries(self, cubes: Sequence[MemCube]) -> list[IndexEntry]:
        """Return the index entries of plaintext cubes: their terms and vectors."""
        embedder = self.embedder
        if embedder is None:
            return [IndexEntry(pack(indexed_terms(cube))) for cube in cubes]
        vectors = embedder.embed([embedded_text(cube) for cube in cubes]).astype("<f2")
        if not np.isfinite(vectors).all():
            raise InvalidInputError("the embedder gave a vector that is not finite: choose another embedder")
        name = embedder.fingerprint
        return [
            IndexEntry(pack(indexed_terms(cube)), vector.tobytes(), name)
            for cube, vector in zip(cubes, vectors, strict=True)
        ]

    def read(self, scope: Scope, cube_id: str, right: str = "read") -> MemCube:
        """Return a cube's newest version if the scope has the right.

        Raises:
            CubeNotFoundError: if there is none, or the scope may not know of it.
            AccessDeniedError: if the right is missing.
        """
        cube = self.vault.get(scope.tenant, check_id(cube_id))
        check(None if cube is None else cube.header, cube_id, scope, right, now())
        assert cube is not None
        return cube

    def commit(
        self,
        changes: Sequence[Change],
        scope: Scope,
        *,
        reason: str = "",
        idempotency_key: str | None = None,
        body_digest: str = "",
        dry_run: bool = False,
    ) -> Receipt:
        """Commit changes with the jobs that they trigger; see `vault.commit` for the errors."""
        actor = scope.user if scope.agent is None else f"{scope.user}/{scope.agent}"
        request = Request(actor, new_id(), reason, idempotency_key, body_digest)
        jobs = triggered_by(changes)
        receipt = self.vault.commit(changes, scope=scope, request=request, jobs=jobs, dry_run=dry_run)
        for observer in () if dry_run else tuple(self.observers):
            observer(changes)
        return receipt

    def note_uses(self, tenant: str, cube_ids: Iterable[str]) -> None:
        """Count uses; they are stored at the next flush, so that a search writes nothing."""
        with self.lock:
            counts = self.uses.setdefault(tenant, {})
            for cube_id in cube_ids:
                counts[cube_id] = counts.get(cube_id, 0) + 1

    def flush_uses(self) -> None:
        """Store the uses counted so far."""
        with self.lock:
            waiting, self.uses = self.uses, {}
        for tenant, counts in waiting.items():
            self.vault.add_uses(tenant, counts)


def make_embedder(settings: Settings) -> Embedder:
    """Return the embedder that the settings name.

    Raises:
        UnknownMethodError, ConfigError: if there is none such.
        MissingExtraError: if its packages are not installed.
    """
    if settings.embedder_key is None:
        return EMBEDDERS.parse(settings.embedder)
    name, parameters = EMBEDDERS.read(settings.embedder)
    return EMBEDDERS.make(name, **parameters | {"api_key": settings.embedder_key})


def indexed_text(cube: MemCube) -> str:
    """Return the words by which a cube is found: its text, who said it, and its day."""
    payload = cube.payload
    assert isinstance(payload, PlaintextPayload)
    return f"{payload.speaker or ''} {payload.title or ''} {date_words(cube.header.valid_at)} {payload.text}"


def indexed_terms(cube: MemCube) -> Counter[int]:
    """Return the terms by which a cube is found, and its marks."""
    found = terms(indexed_text(cube))
    found.update(dict.fromkeys(marks_of(cube.text, cube.payload.role), 1))
    return found


def embedded_text(cube: MemCube) -> str:
    """Return what the embedder reads: `[8 may 2023] Ana: text`."""
    payload = cube.payload
    assert isinstance(payload, PlaintextPayload)
    day = date_words(cube.header.valid_at)
    name = payload.speaker or payload.title
    return f"{f'[{day}] ' if day else ''}{f'{name}: ' if name else ''}{payload.text}"


def check_id(cube_id: Any) -> str:
    """Return `cube_id` if it is a text that could be an id.

    Raises:
        InvalidInputError: if it is none.
    """
    if not isinstance(cube_id, str) or not cube_id or len(cube_id) > 100 or not cube_id.isprintable():
        raise InvalidInputError(f"cube id is {cube_id!r}: give an id as 'engramos list' shows it")
    return cube_id


def check_version(version: Any) -> int:
    """Return `version` if it is a number that a version can have.

    Raises:
        InvalidInputError: if it is none.
    """
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        raise InvalidInputError(f"version is {version!r}: versions count from 1")
    return version


def check_limit(limit: Any) -> int:
    """Return `limit` if it is a whole number from 0 to 10,000.

    Raises:
        InvalidInputError: if it is none.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
        raise InvalidInputError(f"limit is {limit!r}: give a whole number from 0 to {MAX_LIMIT}")
    return limit


def with_entries(parts: Parts, kind: type[Write], cubes: Sequence[MemCube]) -> list[Write]:
    """Return changes of one kind that carry cubes and their index entries."""
    entries = parts.entries(cubes) if cubes else []
    return [kind(cube, entry) for cube, entry in zip(cubes, entries, strict=True)]
