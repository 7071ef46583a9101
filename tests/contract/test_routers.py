"""Every router keeps the promise of its role, and a broken promise is seen."""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest

from engramos.errors import ConfigError
from engramos.parametric.routers import ROLE
from engramos.parametric.routers.base import Embed, Key, Routed, Router
from engramos.parametric.routers.entity import Entity
from engramos.testing.routers import CHECKS, check_router

VARIANTS = (
    ("embedding", {"threshold": 0.6, "margin": 0.0}),
    ("embedding", {"threshold": 0.99}),
    ("cascade", {"floor": 0.5}),
    ("cascade", {"threshold": 0.9, "margin": 0.1}),
    ("cascade", {"threshold": 1.0, "floor": 0.9, "margin": 0.0}),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_router_passes(name: str, check: Callable[[Router], None]) -> None:
    check(ROLE.make(name))


@pytest.mark.parametrize(("name", "parameters"), VARIANTS)
def test_a_router_passes_with_other_parameters(name: str, parameters: dict[str, float]) -> None:
    check_router(ROLE.make(name, **parameters))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_router_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    router = ROLE.make(name)
    for field in fields(router):
        with pytest.raises(FrozenInstanceError):
            setattr(router, field.name, getattr(router, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@dataclass(frozen=True)
class Careless(Router):
    """Breaks one promise."""

    wrong: str = ""

    def route(self, question: str, keys: Sequence[Key], *, limit: int = 1, embed: Embed | None = None) -> list[Routed]:
        found = Entity().route(question, keys, limit=limit)
        if self.wrong == "always" and keys:
            return [Routed(keys[0].adapter_id, 0.5, "first")][:limit]
        if self.wrong == "never":
            return []
        if self.wrong == "generous":
            return Entity().route(question, keys, limit=limit + 1)
        if self.wrong == "twice":
            return [one for one in found for _ in range(2)][:limit]
        if self.wrong == "loud":
            return [Routed(one.adapter_id, 2.0, one.why) for one in found]
        if self.wrong == "silent":
            return [Routed(one.adapter_id, one.score, "") for one in found]
        if self.wrong == "costly" and embed:
            embed([question])
        if self.wrong == "breaks" and not question.strip():
            raise ValueError(question)
        return found


def test_a_router_that_keeps_every_promise_passes() -> None:
    check_router(Careless())


@pytest.mark.parametrize("wrong", ["always", "never", "generous", "twice", "loud", "silent", "costly", "breaks"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_router(Careless(wrong))
