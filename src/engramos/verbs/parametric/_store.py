"""Adapters become cubes: their file, their first version, and what probes add to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engramos.changes import Create, Update
from engramos.clock import new_id, now
from engramos.cube import CubeType, Edge, Form, Header, MemCube, ParametricPayload, Relation, Retention, Source, State
from engramos.lifecycle import move, revise
from engramos.parametric.adapter import Adapter
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Cost
from engramos.vault.adapter_file import stream_of
from engramos.verbs.parametric._cube import FactRef, payload_of
from engramos.verbs.parametric._parts import WeightParts

TYPES = {
    "datastore": CubeType.DATASTORE,
    "codebook": CubeType.EDIT,
    "gated_low_rank": CubeType.EDIT,
    "side_memory": CubeType.EDIT,
}


@dataclass(frozen=True, slots=True)
class Making:
    """How a parametric cube was made."""

    method: str
    """The verb: `learn`, `edit`, `import`, `merge`, `unlearn`."""
    writer: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    report: Mapping[str, float] = field(default_factory=dict)
    exposures: Mapping[str, int] = field(default_factory=dict)
    """How many times each fact was written before, by its id."""
    writes: int = 0
    """The number of this write in the memory."""
    replaces: tuple[str, ...] = ()
    """Ids of the adapters whose place it takes."""
    is_always_on: bool = False
    names: tuple[str, ...] = ()
    """By which it is found, where that is more than the facts' names."""
    type: CubeType | None = None


def put(
    weights: WeightParts, adapter: Adapter, facts: Sequence[Fact], making: Making, parents: Sequence[Edge] | None = None
) -> MemCube:
    """Store an adapter as a cube in state generated: durable, and used by nobody.

    Args:
        weights: of the open memory.
        adapter: finished.
        facts: what it knows, with their sources.
        making: how it was made.
        parents: what it derives from; the facts' sources where None.

    Raises:
        BlobError, StoreError: if the disk is full or refuses; nothing is left behind.
    """
    digest, num_bytes = weights.parts.vault.blobs.put(weights.scope.tenant, stream_of(adapter))
    names = tuple(dict.fromkeys((*making.names, *(name for fact in facts for name in fact.names))))
    refs = [
        FactRef(
            fact.id,
            tuple((one.cube_id, one.version) for one in fact.sources),
            making.exposures.get(fact.id, 0) + 1,
            making.writes,
        ).to_json()
        for fact in facts
    ]
    attributes: dict[str, Any] = {
        "kind": adapter.KIND,
        "verb": making.method,
        "adapter_digest": adapter.digest,
        "writer": making.writer,
        "names": list(names),
        "facts": refs,
        "cpu_s": round(making.cost.cpu_s, 3),
        "steps": making.cost.steps,
        "report": {name: round(float(value), 4) for name, value in making.report.items()},
        "replaces": list(making.replaces),
        "is_always_on": making.is_always_on,
    }
    kept = {name: value for name, value in attributes.items() if value not in ("", [], {}, False)}
    payload = ParametricPayload(digest, num_bytes, weights.table, {}, kept)
    edges = tuple(parents) if parents is not None else _edges(facts)
    cube = MemCube(_header(weights, adapter, making, facts, edges), payload)
    weights.parts.commit([Create(cube)], weights.scope, reason=f"parametric: {making.method}")
    return cube


def _edges(facts: Sequence[Fact]) -> tuple[Edge, ...]:
    pairs = dict.fromkeys((one.cube_id, one.version) for fact in facts for one in fact.sources)
    return tuple(Edge(Relation.DERIVED_FROM, cube_id, version) for cube_id, version in pairs)


def _header(
    weights: WeightParts, adapter: Adapter, making: Making, facts: Sequence[Fact], parents: tuple[Edge, ...]
) -> Header:
    scope = weights.scope
    heads = weights.parts.vault.get_many(scope.tenant, [edge.cube_id for edge in parents])
    ends = [at for one in heads.values() if (at := one.header.retention.expires_at) is not None]
    trusts = [one.trust for fact in facts for one in fact.sources] + [one.header.trust for one in heads.values()]
    return Header(
        cube_id=new_id(),
        version=1,
        form=Form.PARAMETRIC,
        type=making.type or TYPES.get(adapter.KIND, CubeType.ADAPTER),
        scope=scope,
        created_at=now(),
        state=State.GENERATED,
        parents=parents,
        method=making.method,
        parameters=dict(making.parameters),
        model=weights.digest,
        actor=scope.user if scope.agent is None else f"{scope.user}/{scope.agent}",
        source=Source("derivation" if parents else "message"),
        trust=min(trusts, default=1.0),
        retention=Retention(min(ends, default=None)),
    )


def judged(
    weights: WeightParts, cube: MemCube, metrics: Mapping[str, float], failures: Sequence[str], profile: str
) -> MemCube:
    """Store what probes have found; without failures the cube becomes active, and what it replaces goes to rest.

    Raises:
        VersionConflictError, StoreError: if it was changed meanwhile, or the store refuses.
    """
    old = payload_of(cube)
    attributes = {**old.attributes, "why": list(failures), "profile": profile}
    rounded = {name: round(float(value), 6) for name, value in metrics.items()}
    payload = replace(old, probes=rounded, attributes={k: v for k, v in attributes.items() if v != []})
    scope, at = weights.scope, now()
    if failures or cube.header.state is State.ACTIVATED:
        version = revise(cube, at, actor=scope.user, payload=payload, method="probe")
        if failures and cube.header.state is State.ACTIVATED:
            version = move(version, State.ARCHIVED, at, actor=scope.user, method="probe")
            version = MemCube(replace(version.header, version=cube.version + 1), payload)
        weights.parts.commit([Update(version)], scope, reason="parametric: probe")
        return version
    version = move(cube, State.ACTIVATED, at, actor=scope.user, method="probe")
    version = MemCube(version.header, payload)
    changes = [Update(version)]
    for old_id in old.attributes.get("replaces", ()):
        head = weights.parts.vault.get(scope.tenant, old_id)
        if head is not None and head.header.state is State.ACTIVATED:
            changes.append(Update(move(head, State.ARCHIVED, at, actor=scope.user, method="replaced")))
    weights.parts.commit(changes, scope, reason="parametric: probe")
    return version
