"""ParametricMemory: adapters of an open memory, on a local model; one method a verb."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engramos.changes import Change, Write
from engramos.cube import MemCube
from engramos.errors import ConfigError, MissingExtraError, UnsupportedError
from engramos.parametric.arbitration import Arbitration
from engramos.parametric.editors.base import Request
from engramos.parametric.facts import Fact
from engramos.parametric.model import BaseModel
from engramos.parametric.profiles import profile as profile_of
from engramos.parametric.routers import ROLE as ROUTERS
from engramos.parametric.scan import Scan
from engramos.parametric.writers import ROLE as WRITERS
from engramos.scope import Scope
from engramos.verbs.parametric._cube import is_always_on
from engramos.verbs.parametric._parts import Ways, WeightParts
from engramos.verbs.parametric._shelf import AdapterShelf
from engramos.verbs.parametric.answer import Answer, Routing, route
from engramos.verbs.parametric.answer import answer as _answer
from engramos.verbs.parametric.answer import recall as _recall
from engramos.verbs.parametric.demote import Demoted
from engramos.verbs.parametric.demote import demote as _demote
from engramos.verbs.parametric.edit import edit as _edit
from engramos.verbs.parametric.edit import hold_active
from engramos.verbs.parametric.export import export as _export
from engramos.verbs.parametric.export import import_adapter as _import_adapter
from engramos.verbs.parametric.forget import Unlearned
from engramos.verbs.parametric.forget import forget as _forget
from engramos.verbs.parametric.learn import Learned
from engramos.verbs.parametric.learn import learn as _learn
from engramos.verbs.parametric.list import Listed, list_adapters
from engramos.verbs.parametric.merge import merge as _merge
from engramos.verbs.parametric.probe import Examined
from engramos.verbs.parametric.probe import probe as _probe
from engramos.verbs.parametric.retain import Retained
from engramos.verbs.parametric.retain import retain as _retain
from engramos.verbs.parametric.rollback import RolledBack
from engramos.verbs.parametric.rollback import rollback as _rollback
from engramos.verbs.parametric.rollback import undo as _undo
from engramos.verbs.parametric.unlearn import Approximated
from engramos.verbs.parametric.unlearn import unlearn as _unlearn
from engramos.verbs.parts import Parts

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers
    from engramos.kv import KVMemory

RAM_BYTES = 1_000_000_000


class ParametricMemory:
    """The adapters of one tenant, user and agent, written for and attached to one base model.

    Made by `memory.parametric(engine)`. Any thread may use it; the model serves one request at a time. Close it, or use
    a `with` block, before the memory is closed: edits that it holds act on the model until then.
    """

    def __init__(
        self,
        parts: Parts,
        engine: "Transformers",
        scope: Scope,
        *,
        writer: str = "lora",
        router: str = "cascade",
        profile: str = "gated",
        limits: Mapping[str, float] | None = None,
        trust_from: float = 0.5,
        seed: int = 0,
        scan: Scan | None = None,
        ram_bytes: int = RAM_BYTES,
    ) -> None:
        """Take the adapters of a scope over; its active edits act on the model from now on.

        Args:
            parts: of the open memory.
            engine: the local model.
            scope: whose adapters; a session in it is not looked at.
            writer: how facts become adapters, as `Role.parse` reads it.
            router: how a question finds its adapter, as `Role.parse` reads it.
            profile: whose bounds decide whether an adapter becomes active.
            limits: bounds of the profile that are replaced, by metric.
            trust_from: sources that are trusted less never train; in [0, 1].
            seed: of all that is drawn.
            scan: bounds of the static scan of every adapter; the defaults where None.
            ram_bytes: what adapters may take in memory, 1 or more; the least used leave.

        Raises:
            ConfigError, UnknownMethodError: if a method or a bound is none.
            UnsupportedError: if adapters cannot be written for the model.
        """
        WRITERS.parse(writer)
        ROUTERS.parse(router)
        profile_of(profile, **(limits or {}))
        if not 0.0 <= trust_from <= 1.0:
            raise ConfigError(f"trust_from is {trust_from}: give a number from 0 to 1")
        if ram_bytes < 1:
            raise ConfigError(f"ram_bytes is {ram_bytes}: give 1 or more")
        own = Scope(scope.tenant, scope.user, scope.agent)
        base = base_of(engine)
        ways = Ways(writer, router, profile, dict(limits or {}), trust_from, seed, scan or Scan())
        shelf = AdapterShelf(parts.vault, own, base.fingerprint, ram_bytes)
        self._weights = WeightParts(parts, engine, base, own, ways, shelf, base.digest())
        hold_active(self._weights)
        parts.observers.append(self._observe)

    @property
    def engine(self) -> "Transformers":
        """The model."""
        return self._weights.engine

    @property
    def ram_bytes_used(self) -> int:
        """Bytes of adapters in memory."""
        return self._weights.shelf.num_bytes

    @property
    def is_base_untouched(self) -> bool:
        """Whether every bit of the base model's weights is as it was when this memory was opened on it."""
        return self._weights.base.digest() == self._weights.digest

    def close(self) -> None:
        """Let the model go: edits act no more; the adapters stay in the vault."""
        if self._observe in self._weights.parts.observers:
            self._weights.parts.observers.remove(self._observe)
        for one in self._weights.held:
            if one in self._weights.base.held:
                self._weights.base.release(one)
        self._weights.held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _observe(self, changes: Sequence[Change]) -> None:
        """Let an edit go with the commit of this process that erases or archives it, whichever verb made it."""
        known = self._weights.shelf.cubes
        ids = [one.cube.id if isinstance(one, Write) else getattr(one, "cube_id", "") for one in changes]
        if any(is_always_on(known[cube_id]) for cube_id in ids if cube_id in known):
            hold_active(self._weights)

    def learn(
        self,
        cube_ids: str | Sequence[str] = (),
        *,
        question: str | None = None,
        writer: str | None = None,
        profile: str | None = None,
        seed: int | None = None,
        dry_run: bool = False,
        progress: Callable[[int, int, int], None] = lambda shard, shards, step: None,
    ) -> Learned:
        """Write the facts of plaintext cubes into weights; see `engramos.verbs.parametric.learn`."""
        ids = (cube_ids,) if isinstance(cube_ids, str) else tuple(cube_ids)
        given = {"writer": writer, "profile": profile, "seed": seed, "dry_run": dry_run, "progress": progress}
        return _learn(self._weights, ids, question=question, **given)

    promote = learn

    def demote(self, cube_ids: str | Sequence[str], *, dry_run: bool = False) -> Demoted:
        """Archive adapters, whose sources are plaintext still; see `engramos.verbs.parametric.demote`."""
        ids = (cube_ids,) if isinstance(cube_ids, str) else cube_ids
        done = _demote(self._weights.parts, ids, self._weights.scope, dry_run=dry_run)
        hold_active(self._weights)
        return done

    def forget(
        self,
        cube_ids: str | Sequence[str],
        *,
        act: str = "erase",
        by: str | None = None,
        at: datetime | None = None,
        expected_version: int | None = None,
        reason: str = "",
        profile: str | None = None,
        dry_run: bool = False,
    ) -> Unlearned:
        """Forget sources, and repair every adapter that contains them; see `engramos.verbs.parametric.forget`."""
        ids = (cube_ids,) if isinstance(cube_ids, str) else cube_ids
        how: dict[str, Any] = {"by": by, "at": at, "expected_version": expected_version, "reason": reason}
        done = _forget(self._weights, ids, act=act, profile=profile, dry_run=dry_run, **how)
        hold_active(self._weights)
        return done

    def list(self) -> tuple[Listed, ...]:
        """Return all adapters of the scope; see `engramos.verbs.parametric.list`."""
        return list_adapters(self._weights.parts, self._weights.scope)

    def probe(
        self,
        cube_id: str,
        *,
        facts: Sequence[Fact] | None = None,
        profile: str | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> Examined:
        """Examine an adapter; see `engramos.verbs.parametric.probe`."""
        return _probe(self._weights, cube_id, facts=facts, profile=profile, seed=seed, dry_run=dry_run)

    def rollback(self, cube_id: str | None = None, *, dry_run: bool = False) -> RolledBack:
        """Switch an adapter off; see `engramos.verbs.parametric.rollback`."""
        parts, scope, base = self._weights.parts, self._weights.scope, self._weights.table
        done = _rollback(parts, scope, cube_id, base=base, dry_run=dry_run)
        hold_active(self._weights)
        return done

    def route(self, question: str) -> Routing:
        """Return the adapter that a question gets, and why."""
        return route(self._weights, [question])[0][0]

    def answer(
        self, questions: str | Sequence[str], *, max_tokens: int = 64, kv: "KVMemory | None" = None
    ) -> tuple[Answer, ...]:
        """Return the model's answers with the adapters they need; see `engramos.verbs.parametric.answer`."""
        asked = [questions] if isinstance(questions, str) else list(questions)
        return tuple(_answer(self._weights, asked, max_tokens=max_tokens, kv=None if kv is None else kv._kv))

    def recall(
        self,
        question: str,
        *,
        arbitration: str = Arbitration.CONTEXT_FIRST.value,
        budget_tokens: int = 400,
        max_tokens: int = 64,
    ) -> Answer:
        """Answer out of weights and memories, and say which won; see `engramos.verbs.parametric.answer`."""
        given = {"arbitration": arbitration, "budget_tokens": budget_tokens, "max_tokens": max_tokens}
        return _recall(self._weights, question, **given)

    def edit(self, requests: Request | Sequence[Request], *, editor: str = "rome", seed: int = 0) -> MemCube:
        """Change what the model says of single facts; see `engramos.verbs.parametric.edit`."""
        return _edit(self._weights, [requests] if isinstance(requests, Request) else requests, editor=editor, seed=seed)

    def undo(self, cube_id: str) -> MemCube:
        """Let an edit act no more; see `engramos.verbs.parametric.rollback`."""
        done = _undo(self._weights.parts, self._weights.scope, cube_id)
        hold_active(self._weights)
        return done

    def merge(
        self,
        cube_ids: Sequence[str],
        *,
        merger: str = "cat",
        amounts: Sequence[float] | None = None,
        profile: str | None = None,
    ) -> Examined:
        """Merge adapters into a new one, which must pass its probes; see `engramos.verbs.parametric.merge`."""
        return _merge(self._weights, cube_ids, merger=merger, amounts=amounts, profile=profile)

    def unlearn(
        self,
        cube_id: str,
        forgotten: Sequence[Fact],
        *,
        kept: Sequence[Fact] = (),
        unlearner: str = "grad_diff",
        seed: int | None = None,
    ) -> Approximated:
        """Make an imported adapter forget, approximately; see `engramos.verbs.parametric.unlearn`."""
        return _unlearn(self._weights, cube_id, forgotten, kept=kept, unlearner=unlearner, seed=seed)

    def retain(self) -> Retained:
        """Ask the adapters again what they know; see `engramos.verbs.parametric.retain`."""
        return _retain(self._weights)

    def export(self, cube_id: str, folder: str | Path) -> Path:
        """Write an adapter as a PEFT folder; see `engramos.verbs.parametric.export`."""
        return _export(self._weights, cube_id, folder)

    def import_adapter(
        self,
        folder: str | Path,
        *,
        names: tuple[str, ...] = (),
        facts: tuple[Fact, ...] = (),
        cube_ids: Sequence[str] = (),
    ) -> MemCube:
        """Take a PEFT folder in; see `engramos.verbs.parametric.export`."""
        return _import_adapter(self._weights, folder, names=names, facts=facts, cube_ids=cube_ids)


def base_of(engine: "Transformers") -> BaseModel:
    """Return the model of an engine as writers see it.

    Raises:
        UnsupportedError: if it is no engine over a model of transformers.
        MissingExtraError: if torch is not installed.
    """
    try:
        from engramos.engines.transformers import Transformers
    except ImportError as error:
        raise MissingExtraError("torch", "lora") from error
    if not isinstance(engine, Transformers):
        raise UnsupportedError(f"{type(engine).__name__} hosts no model that adapters can be written for")
    return engine.base
