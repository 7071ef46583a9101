"""retain: ask the adapters again what they know, and how old facts fare after later writes."""

from dataclasses import dataclass

from engramos.cube import MemCube
from engramos.parametric.probes._asking import normalised
from engramos.parametric.retention import due
from engramos.verbs.parametric._cube import refs_of
from engramos.verbs.parametric._parts import WeightParts
from engramos.verbs.parametric.answer import answer
from engramos.verbs.parametric.learn import num_writes
from engramos.verbs.sources import changed_sources


@dataclass(frozen=True, slots=True)
class Retained:
    """What adapters know of what was written into them."""

    recall: dict[str, float]
    """By adapter: the share of its facts that is answered, asked through the router."""
    lost: tuple[str, ...]
    """Digests of facts that are answered no more."""
    due: tuple[str, ...]
    """Adapters whose facts are to be exposed again, by the decaying schedule."""

    @property
    def mean(self) -> float:
        """Over all facts of all adapters that were asked; 1 where there is none."""
        return sum(self.recall.values()) / len(self.recall) if self.recall else 1.0


def retain(weights: WeightParts) -> Retained:
    """Ask every fact of every active adapter once, through the router, as a person would.

    Raises:
        UnsupportedError: if the model has no chat template.
    """
    weights.shelf.sync()
    shares, lost, waiting = {}, [], []
    writes = num_writes(weights)
    for cube in weights.shelf.active():
        if changed_sources(weights.parts, weights.scope, cube) or not refs_of(cube):
            continue
        facts = weights.facts_of(cube)
        found = answer(weights, [fact.question for fact in facts], max_tokens=32) if facts else []
        right = [normalised(one.text) == normalised(fact.answer) for one, fact in zip(found, facts, strict=True)]
        shares[cube.id] = sum(right) / max(1, len(right))
        lost += [fact.id for fact, one in zip(facts, right, strict=True) if not one]
        if _is_due(cube, writes):
            waiting.append(cube.id)
    return Retained(shares, tuple(lost), tuple(waiting))


def _is_due(cube: MemCube, writes: int) -> bool:
    return any(due(ref.exposures, writes - ref.written_at) for ref in refs_of(cube))
