"""probe: examine an adapter, and let it become active, or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engramos.cube import MemCube
from engramos.errors import InvalidInputError
from engramos.parametric.facts import Fact
from engramos.parametric.probes import ROLE as PROBES
from engramos.parametric.probes.base import Probed
from engramos.parametric.profiles import judged as judge
from engramos.parametric.profiles import profile as profile_of
from engramos.parametric.routers import ROLE as ROUTERS
from engramos.parametric.routers.base import Key
from engramos.verbs.parametric._cube import is_always_on, names_of
from engramos.verbs.parametric._lessons import examination_of, prepared
from engramos.verbs.parametric._parts import WeightParts, taught_by
from engramos.verbs.parametric._store import judged

EXAMINERS = ("recall", "paraphrase", "abstention", "locality", "refusal", "canary")
"""Probes that every adapter with facts is put to."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What the probes have found."""

    cube: MemCube
    """The adapter as it stands now."""
    metrics: dict[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    """Why it may not be active; empty where it may."""


def probe(
    weights: WeightParts,
    cube_id: str,
    *,
    facts: Sequence[Fact] | None = None,
    profile: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
) -> Examined:
    """Examine an adapter and store what was found; it is active afterwards exactly where it has passed.

    Args:
        weights: of the open memory.
        cube_id: of the adapter.
        facts: what it was taught; read back from its sources where None.
        profile: whose bounds decide; the memory's where None, and `always_on` for what acts on everything.
        seed: of the questions; the memory's where None.
        dry_run: examine, and store nothing.

    Raises:
        CubeNotFoundError, AccessDeniedError: if it is not there, or not the caller's to change.
        InvalidInputError: if it is no adapter, or none of its sources is left.
        ModelMismatchError: if it was made for another base model.
        CorruptPayloadError, ArchiveError, BlobError: if its file is damaged.
    """
    cube = weights.read(cube_id, "read" if dry_run else "write")
    adapter = weights.shelf.load(cube)
    known = prepared(weights.facts_of(cube)) if facts is None else tuple(facts)
    if not known:
        raise InvalidInputError(f"adapter {cube_id!r} has no source left to ask it about: forget it, or learn anew")
    name = profile or ("always_on" if is_always_on(cube) else weights.ways.profile)
    bounds = profile_of(name, **weights.ways.limits)
    metrics: dict[str, float] = {}
    failures: list[str] = weights.scanned(adapter)
    lesson = examination_of(known, weights.ways.seed if seed is None else seed)
    keys, router = (Key(cube.id, names_of(cube), lambda: taught_by(known)),), ROUTERS.parse(weights.ways.router)
    gate = (
        (lambda text: True) if is_always_on(cube) else lambda text: bool(router.route(text, keys, embed=weights.embed))
    )
    details: list[str] = []
    if not failures:
        for one in EXAMINERS:
            found = PROBES.make(one).run(Probed(weights.base, adapter, lesson, gate))
            metrics |= found.metrics
            details += found.failures
        judgement = judge(metrics, bounds)
        failures += judgement
        failures += details if judgement else []
    if not dry_run:
        cube = judged(weights, cube, metrics, failures[:20], name)
        weights.shelf.sync()
    return Examined(cube, metrics, tuple(failures))
