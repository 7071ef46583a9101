"""learn: facts of plaintext cubes are written into adapters, examined, and switched on if they pass."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

from engramos.changes import Erase
from engramos.cube import Form, MemCube, State
from engramos.errors import InvalidInputError
from engramos.parametric.facts import Fact, without_duplicates
from engramos.parametric.lesson import Cost
from engramos.parametric.shards import shards_of
from engramos.parametric.writers import ROLE as WRITERS
from engramos.parametric.writers.base import Writer
from engramos.rows import Filter
from engramos.scheduler.worker import scrub_now
from engramos.verbs.parametric._cube import is_always_on, is_learnt, names_of, refs_of
from engramos.verbs.parametric._lessons import lesson_of, prepared
from engramos.verbs.parametric._parts import WeightParts, untouched
from engramos.verbs.parametric._store import Making, put
from engramos.verbs.parametric.probe import probe
from engramos.verbs.search import SearchOptions, search
from engramos.verbs.sources import changed_sources

SEEN = ("activated", "frozen")


@dataclass(frozen=True, slots=True)
class Shard:
    """Facts that go into one adapter."""

    facts: tuple[Fact, ...]
    replaces: tuple[str, ...] = ()
    """Adapters of the same subjects whose facts are written again with the new ones."""
    cost: Cost = field(default_factory=Cost)
    """Expected."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What `learn` would do."""

    shards: tuple[Shard, ...]
    known: tuple[Fact, ...] = ()
    """Facts that are in an adapter already."""
    distrusted: tuple[str, ...] = ()
    """Ids of cubes that are trusted too little to train."""
    writer: str = ""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts that would be written."""
        return tuple(fact for shard in self.shards for fact in shard.facts)

    @property
    def cost(self) -> Cost:
        """Expected for all shards together."""
        costs = [shard.cost for shard in self.shards]
        return Cost(*(sum(getattr(one, name.name) for one in costs) for name in fields(Cost)))


@dataclass(frozen=True, slots=True)
class Learned:
    """What `learn` did."""

    plan: Planned
    adapters: tuple[MemCube, ...] = ()
    """In state activated where they passed; else generated, with the reasons in their attributes."""
    cpu_s: float = 0.0
    """CPU seconds of the writing, without the probes."""
    is_dry_run: bool = False
    failures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Why an adapter did not become active, by its id."""


def learn(
    weights: WeightParts,
    cube_ids: Sequence[str] = (),
    *,
    question: str | None = None,
    writer: str | None = None,
    profile: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int, int], None] = lambda shard, shards, step: None,
) -> Learned:
    """Write the facts of plaintext cubes into weights, one small adapter for each shard of related facts.

    Each adapter is durable as soon as it is written, and used by nobody before it has passed its probes: whatever is
    interrupted leaves adapters that are whole and not active, and the next call goes on with what is missing.

    Args:
        weights: of the open memory.
        cube_ids: of plaintext cubes; those that the question needs, or else all of the user, where none are given.
        question: instead of ids: the cubes that a search finds for it.
        writer: as `Role.parse` reads it; the memory's where None.
        profile: of the probes' bounds; the memory's where None.
        seed: of all that is drawn; the memory's where None.
        dry_run: plan, and write nothing.
        progress: called with the number of the shard, how many there are, and the step.

    Raises:
        InvalidInputError: if facts contradict each other, a cube is no active plaintext, or its trust is too low.
        CubeNotFoundError: if a cube is not there.
        UnknownMethodError, ConfigError: if writer or profile is none.
        UnsupportedError: if the model cannot carry such an adapter.
        ModelError: if training gave no numbers, or the base model was touched.
        BlobError, StoreError: if the disk is full or refuses.
    """
    made = WRITERS.parse(writer or weights.ways.writer)
    drawn = weights.ways.seed if seed is None else seed
    with weights.writing:
        planned = plan(weights, made, writer or weights.ways.writer, cube_ids, question)
        if dry_run:
            return Learned(planned, is_dry_run=True)
        found, failures, cpu_s = [], {}, 0.0
        with untouched(weights, "learning"):
            for number, shard in enumerate(planned.shards):
                steps = _counted(progress, number, len(planned.shards))
                cube, spent = write(weights, made, shard, planned.writer, drawn, steps)
                cpu_s += spent
                examined = probe(weights, cube.id, facts=shard.facts, profile=profile, seed=drawn)
                found.append(examined.cube)
                if examined.failures:
                    failures[cube.id] = examined.failures
        _drop_failed(weights)
    return Learned(planned, tuple(found), cpu_s, failures=failures)


def _drop_failed(weights: WeightParts) -> None:
    """Erase adapters that `learn` wrote and that never became active, where another one has all their facts.

    The other one is active, or was written later.
    """
    weights.shelf.sync()
    own = [one for one in weights.shelf.cubes.values() if one.header.scope == weights.scope and weights.shelf.fits(one)]
    facts = {one.id: {ref.fact_id for ref in refs_of(one)} for one in own}
    waiting = [one for one in own if one.header.state is State.GENERATED and is_learnt(one)]
    active = [one for one in own if one.header.state in (State.ACTIVATED, State.FROZEN)]
    left = [
        one
        for one in waiting
        if any(facts[one.id] <= facts[other.id] for other in (*active, *(two for two in waiting if two.id > one.id)))
    ]
    if left:
        weights.parts.commit([Erase(one.id, one.version) for one in left], weights.scope, reason="parametric: learn")
        scrub_now(weights.parts, weights.scope.tenant)
        weights.shelf.sync()


def _counted(progress: Callable[[int, int, int], None], number: int, num: int) -> Callable[[int], None]:
    return lambda step: progress(number, num, step)


def plan(
    weights: WeightParts, writer: Writer, name: str, cube_ids: Sequence[str] = (), question: str | None = None
) -> Planned:
    """Return what `learn` would write; see there for the errors."""
    cubes, distrusted = _sources(weights, cube_ids, question)
    weights.shelf.sync()
    # whoever names cubes is told that they contradict each other; of all that was ever said the newest counts
    facts = without_duplicates(tuple(weights.facts_in(cubes, takes_newest=not cube_ids)))
    if cube_ids and not facts:
        raise InvalidInputError("no fact is stated plainly in these cubes: say it in a short sentence, or update them")
    fresh = [cube for cube in weights.shelf.active() if not changed_sources(weights.parts, weights.scope, cube)]
    inside = {ref.fact_id for cube in fresh for ref in refs_of(cube)}
    known = tuple(fact for fact in facts if fact.id in inside)
    new = tuple(fact for fact in facts if fact.id not in inside)
    shards = _grown(weights, writer, prepared(new), fresh)
    priced = tuple(
        Shard(one.facts, one.replaces, writer.estimate(lesson_of(one.facts), weights.base)) for one in shards
    )
    return Planned(priced, known, distrusted, name)


def _sources(
    weights: WeightParts, cube_ids: Sequence[str], question: str | None
) -> tuple[list[MemCube], tuple[str, ...]]:
    """Return the plaintext cubes that may train, and the ids of those that are trusted too little."""
    parts, scope = weights.parts, weights.scope
    if cube_ids and question is not None:
        raise InvalidInputError("say what to learn by cube ids or by a question, not by both")
    if cube_ids:
        cubes = [parts.read(scope, cube_id) for cube_id in dict.fromkeys(cube_ids)]
        for cube in cubes:
            if cube.header.form is not Form.PLAINTEXT or cube.header.state not in (State.ACTIVATED, State.FROZEN):
                found = f"{cube.header.form}, {cube.header.state}"
                raise InvalidInputError(f"cube {cube.id!r} is {found}: give plaintext cubes that are active")
            if cube.header.trust < weights.ways.trust_from:
                raise InvalidInputError(
                    f"cube {cube.id!r} is trusted {cube.header.trust:g} and training asks {weights.ways.trust_from:g}: "
                    f"review it, then update its trust"
                )
    elif question is not None:
        hits = search(parts, question, scope, SearchOptions(limit=30))
        cubes = [hit.cube for hit in hits]
    else:
        cubes = list(parts.vault.select(scope, Filter(forms=("plaintext",), states=SEEN), limit=-1))
    cubes = [cube for cube in cubes if cube.header.invalid_at is None and cube.header.type != "secret"]
    low = tuple(cube.id for cube in cubes if cube.header.trust < weights.ways.trust_from)
    return [cube for cube in cubes if cube.id not in set(low)], low


def _grown(weights: WeightParts, writer: Writer, new: Sequence[Fact], fresh: Sequence[MemCube]) -> list[Shard]:
    """Return shards of new facts; a small adapter of the same subject is written again with them."""
    found = []
    stale = [one for one in weights.shelf.active() if one not in fresh and one.header.method == "learn"]
    open_cubes = [one for one in fresh if not is_always_on(one) and is_learnt(one)]
    taken: set[str] = set()
    for facts in shards_of(new, writer.facts_a_shard):
        names = {name.casefold() for fact in facts for name in fact.names}
        replaces: list[str] = []
        for cube in open_cubes:
            own = {name.casefold() for name in names_of(cube)}
            size = len(facts) + len(refs_of(cube))
            if cube.id in taken or not names & own or size > writer.facts_a_shard:
                continue
            earlier = prepared(weights.facts_of(cube))
            if len(earlier) == len(refs_of(cube)):
                facts, replaces = (*earlier, *facts), [*replaces, cube.id]
                taken.add(cube.id)
        replaces += [cube.id for cube in stale if names & {name.casefold() for name in names_of(cube)}]
        found.append(Shard(tuple(facts), tuple(dict.fromkeys(replaces))))
    return found


def write(
    weights: WeightParts, writer: Writer, shard: Shard, name: str, seed: int, progress: Callable[[int], None]
) -> tuple[MemCube, float]:
    """Write one shard, and return its cube, in state generated, and the CPU seconds that it took."""
    # every shard draws its own numbers, the same ones whenever the same facts are written
    own = int(hashlib.sha256("".join(sorted(fact.id for fact in shard.facts)).encode()).hexdigest()[:8], 16)
    drawn = seed * 2**32 + own
    written = writer.write(lesson_of(shard.facts), weights.base, seed=drawn % 2**62, progress=progress)
    exposures = {
        ref.fact_id: ref.exposures
        for cube_id in shard.replaces
        if (cube := weights.shelf.cubes.get(cube_id)) is not None
        for ref in refs_of(cube)
    }
    parameters = {one.name: getattr(writer, one.name) for one in fields(writer)}
    making = Making(
        "learn",
        name,
        {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()},
        written.cost,
        written.report,
        exposures,
        num_writes(weights) + 1,
        shard.replaces,
    )
    return put(weights, written.adapter, shard.facts, making), written.cost.cpu_s


def num_writes(weights: WeightParts) -> int:
    """Return how many times anything was written into weights here, as far as the adapters know."""
    weights.shelf.sync()
    counts = [ref.written_at for cube in weights.shelf.cubes.values() for ref in refs_of(cube)]
    return max(counts, default=0)
