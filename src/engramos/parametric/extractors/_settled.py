"""One answer for each question, where cubes say a thing twice or differently."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from engramos.cube import CubeType, MemCube, PlaintextPayload
from engramos.parametric.facts import Fact, FactSource


@dataclass(frozen=True, slots=True)
class Found:
    """A fact, and whether another answer would contradict it."""

    fact: Fact
    is_single: bool = True
    """Whether a newer answer takes the place of an older; else both may be so, and neither is learnt."""


def payload_of(cube: MemCube) -> PlaintextPayload | None:
    """Return what a cube says; None for secrets, which are never learnt, and for other forms than plaintext."""
    is_text = isinstance(cube.payload, PlaintextPayload) and cube.header.type is not CubeType.SECRET
    return cube.payload if is_text else None


def source_of(cube: MemCube, trust: float = 1.0) -> FactSource:
    """Return a cube as a fact's source, trusted no more than `trust`."""
    return FactSource(cube.id, cube.version, min(trust, cube.header.trust))


def settled(found: Iterable[Found], *, takes_newest: bool) -> list[Fact]:
    """Return one fact for each question of a subject; those that say the same have all their sources.

    Args:
        found: in order of time.
        takes_newest: whether the newest of different answers stays, unless it is trusted less than the one before it;
            where not, all are returned.
    """
    kept: dict[tuple[str, ...], Found] = {}
    dropped: set[tuple[str, ...]] = set()
    for one in found:
        asked = (one.fact.subject.casefold(), " ".join(one.fact.question.casefold().split()))
        # what may be so twice is no contradiction of which anybody need be told
        key = asked if takes_newest or not one.is_single else (*asked, one.fact.answer.casefold())
        known = kept.get(key)
        if known is None:
            kept[key] = one
        elif known.fact.answer.casefold() == one.fact.answer.casefold():
            sources = tuple(dict.fromkeys((*known.fact.sources, *one.fact.sources)))
            kept[key] = replace(known, fact=replace(known.fact, sources=sources))
        elif not one.is_single or not known.is_single:
            dropped.add(key)
        elif _trust(one.fact) >= _trust(known.fact):
            kept[key] = one
    return [one.fact for key, one in kept.items() if key not in dropped]


def _trust(fact: Fact) -> float:
    return max((source.trust for source in fact.sources), default=1.0)
