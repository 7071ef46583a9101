"""unlearn: an adapter whose training data are not at hand is made to forget, as well as that can be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engramos.changes import Archive
from engramos.clock import now
from engramos.cube import Edge, MemCube, Relation, State
from engramos.errors import InvalidInputError
from engramos.lifecycle import move
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.phrasings import PASSAGES_TRAINED
from engramos.parametric.probes import ROLE as PROBES
from engramos.parametric.probes.base import Probed
from engramos.parametric.profiles import judged as judge
from engramos.parametric.unlearning import ROLE as UNLEARNERS
from engramos.verbs.parametric._cube import names_of
from engramos.verbs.parametric._lessons import lesson_of, prepared
from engramos.verbs.parametric._parts import WeightParts, untouched
from engramos.verbs.parametric._store import Making, judged, put

VERIFIERS = ("recall", "paraphrase", "canary", "membership")
PROFILE = "forgotten"


@dataclass(frozen=True, slots=True)
class Approximated:
    """What became of an adapter that was made to forget."""

    cube: MemCube
    """Its successor: active where the verification passed, else generated, with the reasons."""
    way: str
    """The unlearner."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the verification: extraction strength, membership inference, recall of what should be gone."""
    failures: tuple[str, ...] = ()
    is_exact: bool = False
    """Never: traces can be left that no probe finds. Who needs certainty drops the adapter."""


def unlearn(
    weights: WeightParts,
    cube_id: str,
    forgotten: Sequence[Fact],
    *,
    kept: Sequence[Fact] = (),
    unlearner: str = "grad_diff",
    seed: int | None = None,
) -> Approximated:
    """Make a successor of an adapter that should no longer know some facts, verify it, and switch the adapter off.

    For imported adapters alone: of what was written here the sources are known, and `forget` is exact. It was measured
    to cost a quarter of the other facts, or to forget nothing. The adapter is archived whatever the verification says.

    Args:
        weights: of the open memory.
        cube_id: of a low-rank adapter.
        forgotten: what must go, 1 or more.
        kept: what must stay, as far as it is known.
        unlearner: as `Role.parse` reads it.
        seed: of all that is drawn; the memory's where None.

    Raises:
        CubeNotFoundError, AccessDeniedError, ModelMismatchError: if it is not there, or of another base model.
        InvalidInputError: if it is not of low rank, there is nothing to forget, or `kept` lacks what the method needs.
        UnknownMethodError, ConfigError: if the unlearner is none.
        ModelError: if the base model was touched, or numbers were lost.
    """
    made = UNLEARNERS.parse(unlearner)
    cube = weights.read(cube_id, "write")
    adapter = weights.shelf.load(cube)
    if not isinstance(adapter, LowRank):
        raise InvalidInputError(f"adapter {cube_id!r} is a {adapter.KIND}: drop it, or its rows, by `forget`")
    gone, stays = prepared(forgotten), prepared(kept)
    drawn = weights.ways.seed if seed is None else seed
    with weights.writing, untouched(weights, "unlearning"):
        lesson = replace(lesson_of(stays), retained=PASSAGES_TRAINED)
        changed = made.unlearn(adapter, lesson_of(gone), lesson, weights.base, seed=drawn)
        making = Making("unlearn", unlearner, names=names_of(cube))
        edges = (*cube.header.parents, Edge(Relation.DERIVED_FROM, cube.id, cube.version))
        after = put(weights, changed, stays, making, edges)
        archive(weights, cube_id)
        probed = Probed(weights.base, changed, lesson_of(gone))
        metrics: dict[str, float] = {}
        for name in VERIFIERS:
            metrics |= PROBES.make(name).run(probed).metrics
        failures = [*weights.scanned(changed), *judge(metrics, PROFILE)]
        after = judged(weights, after, metrics, failures, PROFILE)
    weights.shelf.sync()
    return Approximated(after, unlearner, metrics, tuple(failures))


def archive(weights: WeightParts, cube_id: str) -> None:
    """Switch an adapter off."""
    head = weights.parts.read(weights.scope, cube_id, "write")
    if head.header.state is State.ARCHIVED:
        return
    archived = move(head, State.ARCHIVED, now(), actor=weights.scope.user, method="unlearn")
    weights.parts.commit([Archive(archived)], weights.scope, reason="parametric: unlearn")
