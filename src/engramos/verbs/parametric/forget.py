"""forget: sources leave the memory, and every adapter that contains them, by the cheapest exact way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engramos.changes import Erase
from engramos.cube import MemCube, State
from engramos.errors import UnknownMethodError
from engramos.parametric.adapters.codebook import Codebook
from engramos.parametric.adapters.datastore import Datastore
from engramos.parametric.facts import Fact
from engramos.parametric.writers import ROLE as WRITERS
from engramos.parametric.writers.base import Writer
from engramos.scheduler.worker import scrub_now
from engramos.verbs.forget import Forgotten, Which
from engramos.verbs.forget import forget as forget_cubes
from engramos.verbs.parametric._cube import payload_of, refs_of
from engramos.verbs.parametric._lessons import prepared
from engramos.verbs.parametric._parts import WeightParts, untouched
from engramos.verbs.parametric._store import Making, put
from engramos.verbs.parametric.learn import Shard, num_writes, write
from engramos.verbs.parametric.probe import probe
from engramos.verbs.sources import changed_sources

DROPPED, ROWS, REWRITTEN, UNDONE = "dropped", "rows deleted", "written anew", "undone"

BY_ROWS = ("datastore", "codebook")
"""Kinds whose rows belong to single facts."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one adapter that contained what was forgotten."""

    adapter_id: str
    """It is erased."""
    way: str
    """`dropped`: nothing of it was left, or it was switched off; `rows deleted`; `written anew` without the forgotten;
    `undone`: an edit."""
    successor_id: str | None
    """The adapter that has its other facts now."""
    is_exact: bool
    """Whether nothing of the forgotten can be left, by construction."""
    num_kept: int
    """Facts that stay in weights."""
    cpu_s: float = 0.0
    is_active: bool = False
    """Whether the successor has passed its probes."""


@dataclass(frozen=True, slots=True)
class Unlearned:
    """What was forgotten, and how."""

    forgotten: Forgotten
    repairs: tuple[Repair, ...] = ()


def forget(
    weights: WeightParts,
    cube_ids: Sequence[str],
    *,
    act: str = "erase",
    by: str | None = None,
    at: datetime | None = None,
    expected_version: int | None = None,
    reason: str = "",
    profile: str | None = None,
    dry_run: bool = False,
) -> Unlearned:
    """Forget plaintext cubes, and repair every adapter that contains a fact of them.

    The adapters are erased together with the sources, so that nothing answers from them any more, before anything is
    trained; what they knew of other sources is then written anew, out of those alone. A crash in between leaves facts
    out of the weights, never in: their sources are there, and the next `learn` writes them.

    Args:
        weights: of the open memory.
        cube_ids: of plaintext cubes or of adapters, 1 or more.
        act: `erase`; or `supersede` or `expire`, which leave the cubes, and take their facts out of the weights too.
        by: for `supersede`: the cube that holds what is true now.
        at: for `supersede`: since when it is no longer true; now where None.
        expected_version: for one cube: the version that the caller read.
        reason: why, for the journal.
        profile: whose bounds decide on the successors; the memory's where None.
        dry_run: say which adapters would be repaired how, and do nothing.

    Raises:
        CubeNotFoundError, AccessDeniedError, FrozenError, IllegalTransitionError, InvalidInputError: as `forget`.
        ModelError: if the base model was touched.
    """
    weights.shelf.sync()
    gone = dict.fromkeys(cube_ids)
    how: dict[str, Any] = {"by": by, "at": at, "expected_version": expected_version, "reason": reason}
    touched = [cube for cube in weights.shelf.cubes.values() if _contains(cube, gone) and cube.id not in gone]
    plans = [(cube, _kept(weights, cube, gone)) for cube in touched]
    if dry_run:
        forgotten = forget_cubes(weights.parts, Which(tuple(gone)), act, weights.scope, **how, dry_run=True)
        return Unlearned(forgotten, tuple(_expected(cube, kept) for cube, kept in plans))
    with weights.writing, untouched(weights, "forgetting"):
        cut = {cube.id: _without_rows(weights, cube, kept) for cube, kept in plans}
        forgotten = forget_cubes(weights.parts, Which(tuple(gone)), act, weights.scope, **how)
        _drop_left(weights, touched)
        repairs = tuple(_repaired(weights, cube, kept, cut[cube.id], profile) for cube, kept in plans)
    weights.shelf.sync()
    return Unlearned(forgotten, repairs)


def _contains(cube: MemCube, gone: dict[str, None]) -> bool:
    return any(edge.cube_id in gone for edge in cube.header.parents)


def _kept(weights: WeightParts, cube: MemCube, gone: dict[str, None]) -> tuple[Fact, ...]:
    """Return the facts of an adapter with a source besides those that go; none where it is off, or another model's."""
    stale = {one.cube_id for one in changed_sources(weights.parts, weights.scope, cube)}
    if cube.header.state is State.ARCHIVED or stale - gone.keys() or not weights.shelf.fits(cube):
        return ()
    kept = []
    for fact in prepared(weights.facts_of(cube)):
        sources = tuple(one for one in fact.sources if one.cube_id not in gone)
        if sources:
            kept.append(replace(fact, sources=sources))
    return tuple(kept)


def _expected(cube: MemCube, kept: Sequence[Fact]) -> Repair:
    if not kept:
        return Repair(cube.id, DROPPED, None, True, 0)
    way = ROWS if payload_of(cube).attributes.get("kind") in BY_ROWS else REWRITTEN
    return Repair(cube.id, way, None, True, len(kept))


def _without_rows(weights: WeightParts, cube: MemCube, kept: Sequence[Fact]) -> MemCube | None:
    """Store an adapter whose rows belong to single facts without the rows of the others; None where it has no rows."""
    if (
        not kept
        or payload_of(cube).attributes.get("kind") not in ("datastore", "codebook")
        or not weights.shelf.fits(cube)
    ):
        return None
    adapter = weights.shelf.load(cube)
    assert isinstance(adapter, Datastore | Codebook)
    ids = {fact.id for fact in kept}
    left = adapter.without([ref.fact_id for ref in refs_of(cube) if ref.fact_id not in ids])
    old = payload_of(cube).attributes
    making = Making("learn", str(old.get("writer", "")), cube.header.parameters, writes=num_writes(weights))
    return put(weights, left, kept, making)


def _drop_left(weights: WeightParts, touched: Sequence[MemCube]) -> None:
    """Erase adapters that outlived their source, as they do where it was superseded or expired, not erased."""
    tenant = weights.scope.tenant
    heads = weights.parts.vault.get_many(tenant, [cube.id for cube in touched])
    changes = [Erase(cube.id, cube.version) for cube in heads.values()]
    if changes:
        weights.parts.commit(changes, weights.scope, reason="parametric: its source was forgotten")
        scrub_now(weights.parts, tenant)


def _repaired(
    weights: WeightParts, cube: MemCube, kept: Sequence[Fact], cut: MemCube | None, profile: str | None
) -> Repair:
    if not kept:
        return Repair(cube.id, UNDONE if cube.header.type == "edit" else DROPPED, None, True, 0)
    way, cpu_s, successor = ROWS, 0.0, cut
    if successor is None:
        way = REWRITTEN
        name = str(payload_of(cube).attributes.get("writer", "")) or weights.ways.writer
        successor, cpu_s = write(
            weights, _writer(weights, name), Shard(tuple(kept)), name, weights.ways.seed, lambda step: None
        )
    examined = probe(weights, successor.id, facts=kept, profile=profile)
    return Repair(cube.id, way, successor.id, True, len(kept), cpu_s, not examined.failures)


def _writer(weights: WeightParts, name: str) -> Writer:
    try:
        return WRITERS.parse(name)
    except UnknownMethodError:
        # what has no writer here, such as an import, goes on in the memory's own way
        return WRITERS.parse(weights.ways.writer)
