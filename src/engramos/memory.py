"""MemoryOS: an open memory, one method a verb."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engramos import config, failpoints
from engramos.changes import Receipt
from engramos.config import Settings
from engramos.cube import Grant, MemCube
from engramos.errors import EngramosError, InvalidInputError
from engramos.importers.base import Importer
from engramos.plaintext.contexts.block import ContextBlock, estimate_tokens
from engramos.plaintext.plan import DEFAULT, Plan
from engramos.rows import Filter
from engramos.scheduler.worker import run_due
from engramos.scope import Scope
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.add import AddOptions, Input
from engramos.verbs.add import add as _add
from engramos.verbs.consolidate import METHODS, Consolidated
from engramos.verbs.consolidate import consolidate as _consolidate
from engramos.verbs.context import context as _context
from engramos.verbs.dump import Dumped
from engramos.verbs.dump import dump as _dump
from engramos.verbs.explain import Explanation
from engramos.verbs.explain import explain as _explain
from engramos.verbs.forget import Forgotten, Which
from engramos.verbs.forget import forget as _forget
from engramos.verbs.get import get as _get
from engramos.verbs.history import History
from engramos.verbs.history import history as _history
from engramos.verbs.import_file import Imported
from engramos.verbs.import_file import import_file as _import_file
from engramos.verbs.list import list_cubes as _list
from engramos.verbs.load import Loaded
from engramos.verbs.load import load as _load
from engramos.verbs.parts import Parts
from engramos.verbs.reembed import reembed as _reembed
from engramos.verbs.restore import restore as _restore
from engramos.verbs.search import Hit, SearchOptions
from engramos.verbs.search import search as _search
from engramos.verbs.stats import stats as _stats
from engramos.verbs.update import Revision
from engramos.verbs.update import update as _update
from engramos.verbs.verify import VerifyReport
from engramos.verbs.verify import verify as _verify

if TYPE_CHECKING:
    from engramos.engines.base import Engine
    from engramos.engines.transformers import Transformers
    from engramos.kv import KVMemory
    from engramos.parametric_memory import ParametricMemory


class MemoryOS:
    """A memory in a folder. Open it, use its verbs from any thread, close it.

    Every verb takes `scope`; where it is None, the one that the memory was opened with counts.

    Example:
        >>> import tempfile
        >>> with MemoryOS.open(tempfile.mkdtemp(), user="ana", embedder="none") as memory:
        ...     receipt = memory.add("I moved to Lisbon in May.")
        ...     [hit.text for hit in memory.search("Where does she live, Lisbon?")]
        ['I moved to Lisbon in May.']
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @classmethod
    def open(cls, folder: str | Path | None = None, **settings: Any) -> Self:
        """Open the memory in `folder`; make it where it is missing.

        Args:
            folder: where the memory lies; the settings' folder where None.
            settings: any of `engramos.config.Settings`, such as `user="ana"`; they win over file and environment.

        Raises:
            ConfigError: if a setting does not fit.
            InvalidInputError: if tenant, user or agent is no name.
            EmbedderMismatchError: if another embedder made the memory's vectors.
            MissingExtraError: if the embedder's packages are not installed.
            ForeignStoreError: if the folder holds something else, or a damaged memory.
            NewerSchemaError: if a newer engramos wrote it.
            StoreError: if the folder cannot be written.
        """
        return cls._open(config.load({"folder": folder, **settings}), may_mismatch=False)

    @classmethod
    def open_for_reembed(cls, folder: str | Path | None = None, **settings: Any) -> Self:
        """Open the memory although another embedder made its vectors, to look at it or to `reembed` it.

        A search or an add that needs vectors still raises EmbedderMismatchError until `reembed` has run.

        Raises:
            ConfigError, ForeignStoreError, NewerSchemaError, StoreError: as `open` does.
        """
        return cls._open(config.load({"folder": folder, **settings}), may_mismatch=True)

    @classmethod
    def _open(cls, settings: Settings, *, may_mismatch: bool) -> Self:
        failpoints.arm(settings.failpoint)
        Scope(settings.tenant, settings.user, settings.agent)
        vault = SqliteVault(settings.folder, durability=settings.durability, driver=settings.driver)
        parts = Parts(vault, settings)
        try:
            if not may_mismatch:
                parts.check_embedder()
            run_due(parts, takes_over=True)
        except EngramosError:
            vault.close()
            raise
        return cls(parts)

    @property
    def settings(self) -> Settings:
        """The settings that the memory was opened with."""
        return self._parts.settings

    @property
    def scope(self) -> Scope:
        """The scope of verbs that are given none."""
        return self._parts.settings.scope

    def _asked(self, scope: Scope | None) -> Scope:
        if scope is None:
            return self.scope
        if not isinstance(scope, Scope):
            raise InvalidInputError(f"scope is {scope!r}: give Scope(tenant, user)")
        return scope

    def close(self) -> None:
        """Store what is counted, finish what is queued, and close the files."""
        if self._parts.vault.is_closed:
            return
        try:
            self._parts.flush_uses()
            run_due(self._parts)
        finally:
            self._parts.vault.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        items: Input | Iterable[Input],
        *,
        type: str = "episode",
        speaker: str | None = None,
        session: str | None = None,
        at: datetime | None = None,
        labels: Sequence[str] = (),
        trust: float = 1.0,
        keep_for: timedelta | None = None,
        is_held: bool = False,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        scope: Scope | None = None,
    ) -> Receipt:
        """Store texts, messages or documents, durably and all together; see `engramos.verbs.add`."""
        options = AddOptions(type, speaker, session, at, labels, trust, keep_for, is_held)
        return _add(self._parts, items, self._asked(scope), options, idempotency_key=idempotency_key, dry_run=dry_run)

    def import_file(
        self,
        path: str | Path,
        *,
        importer: Importer | None = None,
        is_strict: bool = False,
        progress: Callable[[int], None] = lambda num: None,
        scope: Scope | None = None,
    ) -> Imported:
        """Import a file of conversations or documents; see `engramos.verbs.import_file`."""
        return _import_file(
            self._parts, Path(path), self._asked(scope), importer=importer, is_strict=is_strict, progress=progress
        )

    def search(
        self,
        question: str,
        *,
        limit: int = 10,
        where: Filter | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        asked_at: datetime | None = None,
        plan: Plan = DEFAULT,
        scope: Scope | None = None,
    ) -> Sequence[Hit]:
        """Return the best cubes for a question, with the parts of each score; see `engramos.verbs.search`."""
        options = SearchOptions(limit, where or Filter(), as_of, known_at, asked_at, plan)
        return _search(self._parts, question, self._asked(scope), options)

    def context(
        self,
        question: str,
        *,
        budget_tokens: int = 1_000,
        limit: int = 30,
        where: Filter | None = None,
        as_of: datetime | None = None,
        asked_at: datetime | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
        form: str = "auto",
        scope: Scope | None = None,
    ) -> ContextBlock:
        """Return a block for a prompt, framed as data; see `engramos.verbs.context`."""
        options = SearchOptions(limit, where or Filter(), as_of, None, asked_at)
        return _context(self._parts, question, self._asked(scope), options, budget_tokens, count_tokens, form)

    def kv(self, engine: "Engine", *, scope: Scope | None = None, **settings: Any) -> "KVMemory":
        """Return the memory's KV cubes on a local model; settings and errors as of `engramos.kv.KVMemory`."""
        from engramos.kv import KVMemory

        return KVMemory(self._parts, engine, self._asked(scope), **settings)

    def parametric(self, engine: "Transformers", *, scope: Scope | None = None, **settings: Any) -> "ParametricMemory":
        """Return the memory's adapters on a local model; settings and errors as of `ParametricMemory`."""
        from engramos.parametric_memory import ParametricMemory

        return ParametricMemory(self._parts, engine, self._asked(scope), **settings)

    def get(
        self,
        cube_id: str,
        *,
        version: int | None = None,
        known_at: datetime | None = None,
        scope: Scope | None = None,
    ) -> MemCube:
        """Return one cube; see `engramos.verbs.get`."""
        return _get(self._parts, cube_id, self._asked(scope), version=version, known_at=known_at)

    def list(
        self,
        where: Filter | None = None,
        *,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        after: str = "",
        limit: int = 100,
        scope: Scope | None = None,
    ) -> Sequence[MemCube]:
        """Return cubes in the order of their making; see `engramos.verbs.list`."""
        where = where or Filter()
        return _list(self._parts, self._asked(scope), where, as_of=as_of, known_at=known_at, after=after, limit=limit)

    def history(self, cube_id: str, *, scope: Scope | None = None) -> History:
        """Return all versions of a cube and who made them; see `engramos.verbs.history`."""
        return _history(self._parts, cube_id, self._asked(scope))

    def update(
        self,
        cube_id: str,
        *,
        expected_version: int | None = None,
        force: bool = False,
        text: str | None = None,
        speaker: str | None = None,
        labels: Sequence[str] | None = None,
        valid_at: datetime | None = None,
        invalid_at: datetime | None = None,
        trust: float | None = None,
        grants: Sequence[Grant] | None = None,
        is_held: bool | None = None,
        dry_run: bool = False,
        scope: Scope | None = None,
    ) -> MemCube:
        """Write a further version of a cube; see `engramos.verbs.update`."""
        some_grants = None if grants is None else tuple(grants)
        revision = Revision(text, speaker, labels, valid_at, invalid_at, trust, some_grants, is_held)
        return _update(
            self._parts,
            cube_id,
            self._asked(scope),
            revision,
            expected_version=expected_version,
            force=force,
            dry_run=dry_run,
        )

    def forget(
        self,
        cube_ids: str | Sequence[str] = (),
        *,
        act: str,
        where: Filter | None = None,
        subject: str | None = None,
        expected_version: int | None = None,
        by: str | None = None,
        at: datetime | None = None,
        reason: str = "",
        dry_run: bool = False,
        scope: Scope | None = None,
    ) -> Forgotten:
        """Supersede, expire or erase cubes; see `engramos.verbs.forget`."""
        ids = (cube_ids,) if isinstance(cube_ids, str) else tuple(cube_ids)
        return _forget(
            self._parts,
            Which(ids, where, subject),
            act,
            self._asked(scope),
            expected_version=expected_version,
            by=by,
            at=at,
            reason=reason,
            dry_run=dry_run,
        )

    def restore(
        self, cube_id: str, *, version: int | None = None, dry_run: bool = False, scope: Scope | None = None
    ) -> MemCube:
        """Bring a cube or an earlier version back; see `engramos.verbs.restore`."""
        return _restore(self._parts, cube_id, self._asked(scope), version=version, dry_run=dry_run)

    def consolidate(
        self,
        methods: Sequence[str] = METHODS,
        *,
        undo: str | None = None,
        dry_run: bool = False,
        scope: Scope | None = None,
    ) -> Consolidated:
        """Supersede duplicates and what was corrected, or undo that; see `engramos.verbs.consolidate`."""
        return _consolidate(self._parts, self._asked(scope), methods, undo=undo, dry_run=dry_run)

    def explain(
        self,
        cube_id: str,
        question: str | None = None,
        *,
        asked_at: datetime | None = None,
        as_of: datetime | None = None,
        scope: Scope | None = None,
    ) -> Explanation:
        """Return where a cube comes from, and how it fares for a question; see `engramos.verbs.explain`."""
        options = SearchOptions(as_of=as_of, asked_at=asked_at)
        return _explain(self._parts, cube_id, self._asked(scope), question, options)

    def stats(self, *, scope: Scope | None = None) -> dict[str, Any]:
        """Return numbers of a user's memory; see `engramos.verbs.stats`."""
        return _stats(self._parts, self._asked(scope))

    def backup(self, target: str | Path) -> Path:
        """Write a consistent copy into a new folder, while others read and write, and return its path.

        Raises:
            StoreError: if the folder exists already or cannot be written.
        """
        return self._parts.vault.backup(Path(target))

    def dump(self, target: str | Path, *, overwrite: bool = False, scope: Scope | None = None) -> Dumped:
        """Write a user's whole memory into one archive file; see `engramos.verbs.dump`."""
        return _dump(self._parts, Path(target), self._asked(scope), overwrite=overwrite)

    def load(
        self, path: str | Path, *, progress: Callable[[int], None] = lambda num: None, scope: Scope | None = None
    ) -> Loaded:
        """Load an archive that `dump` wrote, all of it or nothing; see `engramos.verbs.load`."""
        return _load(self._parts, Path(path), self._asked(scope), progress=progress)

    def verify(self, *, repair: bool = False, repair_from: str | Path | None = None) -> VerifyReport:
        """Check everything in the folder, of all tenants, and repair it where asked; see `engramos.verbs.verify`."""
        return _verify(self._parts, repair=repair, repair_from=None if repair_from is None else Path(repair_from))

    def reembed(self, *, progress: Callable[[int], None] = lambda num: None) -> int:
        """Make all vectors anew with the settings' embedder; see `engramos.verbs.reembed`."""
        return _reembed(self._parts, progress)

    def run_jobs(self) -> int:
        """Run the jobs that are due, such as sweeping what its retention has ended for; return how many."""
        return run_due(self._parts)


VERBS = tuple(
    name for name, value in vars(MemoryOS).items() if callable(value) and not name.startswith("_") and name != "open"
)
"""The names of the verbs, the same on both classes."""
