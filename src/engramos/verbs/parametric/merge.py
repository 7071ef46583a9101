"""merge: one adapter out of several, which must pass its own probes."""

from collections.abc import Sequence

from engramos.cube import Edge, Relation
from engramos.errors import InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers import ROLE as MERGERS
from engramos.verbs.parametric._lessons import prepared
from engramos.verbs.parametric._parts import WeightParts, untouched
from engramos.verbs.parametric._store import Making, put
from engramos.verbs.parametric.learn import num_writes
from engramos.verbs.parametric.probe import Examined, probe


def merge(
    weights: WeightParts,
    cube_ids: Sequence[str],
    *,
    merger: str = "cat",
    amounts: Sequence[float] | None = None,
    profile: str | None = None,
) -> Examined:
    """Merge adapters into a new one; it takes their place only if it passes its probes with all their facts.

    Args:
        weights: of the open memory.
        cube_ids: of 2 or more low-rank adapters.
        merger: as `Role.parse` reads it.
        amounts: how much of each; 1 each where None.
        profile: whose bounds decide; the memory's where None.

    Raises:
        InvalidInputError: if there are fewer than two, or one is not of low rank.
        CubeNotFoundError, ModelMismatchError, UnsupportedError: if one is not there or does not fit the others.
    """
    made = MERGERS.parse(merger)
    ids = tuple(dict.fromkeys(cube_ids))
    if len(ids) < 2:
        raise InvalidInputError(f"{len(ids)} adapters cannot be merged: give 2 or more")
    cubes = [weights.read(cube_id) for cube_id in ids]
    adapters = [weights.shelf.load(cube) for cube in cubes]
    for cube, one in zip(cubes, adapters, strict=True):
        if not isinstance(one, LowRank):
            raise InvalidInputError(f"adapter {cube.id!r} is a {one.KIND}: only low-rank adapters are merged")
    facts = prepared([fact for cube in cubes for fact in weights.facts_of(cube)])
    with weights.writing, untouched(weights, "merging"):
        merged = made.merge([one for one in adapters if isinstance(one, LowRank)], amounts)
        making = Making("merge", merger, writes=num_writes(weights), replaces=ids)
        sources = [Edge(Relation.DERIVED_FROM, one.cube_id, one.version) for fact in facts for one in fact.sources]
        edges = [Edge(Relation.MERGED_FROM, cube.id, cube.version) for cube in cubes]
        cube = put(weights, merged, facts, making, (*dict.fromkeys(sources), *edges))
        return probe(weights, cube.id, facts=facts, profile=profile)
