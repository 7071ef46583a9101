"""Every extractor keeps the promise of its role, and a broken promise is seen."""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from engramos.cube import MemCube
from engramos.errors import ConfigError
from engramos.parametric.extractors import ROLE
from engramos.parametric.extractors.base import Extractor
from engramos.parametric.extractors.statements import Statements
from engramos.parametric.facts import Fact, FactSource
from engramos.testing.extractors import CHECKS, check_extractor


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_an_extractor_passes(name: str, check: Callable[[Extractor], None]) -> None:
    check(ROLE.make(name))


@pytest.mark.parametrize("name", ROLE.names())
def test_an_extractor_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    extractor = ROLE.make(name)
    for field in fields(extractor):
        with pytest.raises(FrozenInstanceError):
            setattr(extractor, field.name, getattr(extractor, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@dataclass(frozen=True)
class Careless(Extractor):
    """Breaks one promise."""

    wrong: str = ""

    def extract(self, cubes: Sequence[MemCube]) -> list[Fact]:
        if self.wrong == "contradicts":
            return Statements(takes_newest=False).extract(cubes)
        if self.wrong == "models":
            cubes = [replace(one, payload=replace(one.payload, role="user")) for one in cubes if one.text]
        found = Statements().extract(cubes)
        if self.wrong == "sourceless":
            return [replace(fact, sources=()) for fact in found]
        if self.wrong == "trusting":
            return [replace(fact, sources=(FactSource(fact.sources[0].cube_id, 1, 1.0),)) for fact in found]
        if self.wrong == "blind":
            return [replace(fact, paraphrases=("Where?",)) for fact in found]
        if self.wrong == "gives away":
            return [replace(fact, paraphrases=(f"{fact.subject} {fact.answer}?",)) for fact in found]
        return [] if self.wrong == "nothing" else found


def test_an_extractor_that_keeps_every_promise_passes() -> None:
    check_extractor(Careless())


@pytest.mark.parametrize("wrong", ["contradicts", "models", "sourceless", "trusting", "blind", "gives away", "nothing"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_extractor(Careless(wrong))
