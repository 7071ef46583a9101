"""Every unlearner keeps the promise of its role."""

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
import torch

from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.unlearning import ROLE
from engramos.parametric.unlearning.base import Unlearner
from engramos.parametric.unlearning.grad_diff import GradDiff
from engramos.testing.unlearners import CHECKS, check_unlearner, knowing, tiny_base

torch.set_num_threads(1)
PARAMETERS = {
    "grad_diff": {"learning_rate": 0.005, "max_steps": 6},
    "npo": {"learning_rate": 0.005, "max_steps": 6},
    "simnpo": {"learning_rate": 0.005, "max_steps": 12},
    "ssd": {"threshold": 2.0, "damping": 0.5},
}
"""Others than the defaults, which are for models of a common size."""


@pytest.fixture(autouse=True, scope="module")
def whole_models_for_others() -> Iterator[None]:
    """Give up the shared model afterwards: one of the broken unlearners writes into it."""
    yield
    tiny_base.cache_clear()
    knowing.cache_clear()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_an_unlearner_passes(name: str, check: Callable[[Unlearner], None]) -> None:
    check(ROLE.make(name, **PARAMETERS.get(name, {})))


@pytest.mark.parametrize("name", ROLE.names())
def test_an_unlearner_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    unlearner = ROLE.make(name)
    for field in fields(unlearner):
        with pytest.raises(FrozenInstanceError):
            setattr(unlearner, field.name, getattr(unlearner, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1])
@pytest.mark.parametrize("name", ROLE.names())
def test_a_parameter_that_cannot_be_is_refused_by_its_name(name: str, number: float) -> None:
    for field in fields(ROLE.load(name)):
        if field.name != "max_steps" or number == -1:
            with pytest.raises(ConfigError, match=f"^{field.name} is "):
                ROLE.make(name, **{field.name: number})


@dataclass(frozen=True)
class Careless(Unlearner):
    """Forgets by ascent, or breaks one promise."""

    wrong: str = ""

    def unlearn(self, adapter: LowRank, forgotten: Lesson, kept: Lesson, base: BaseModel, *, seed: int = 0) -> LowRank:
        if self.wrong == "idle":
            return LowRank(_copies(adapter.down), _copies(adapter.up), adapter.scale, adapter.invocation)
        if self.wrong == "trusts" and not forgotten.facts:
            return adapter
        if self.wrong == "all":
            return LowRank(_copies(adapter.down), {name: one * 0 for name, one in adapter.up.items()}, adapter.scale)
        made = GradDiff(learning_rate=0.005, max_steps=6).unlearn(adapter, forgotten, kept, base, seed=seed)
        if self.wrong == "random":
            next(iter(made.up.values())).add_(torch.rand(()) * 1e-6)
        if self.wrong == "holds":
            base.hold(made)
        if self.wrong == "lends":
            return LowRank(adapter.down, made.up, adapter.scale, adapter.invocation)
        if self.wrong == "scale":
            return LowRank(made.down, made.up, 1.0, adapter.invocation)
        if self.wrong == "asks":
            next(iter(made.up.values())).requires_grad_()
        return made


def _copies(tensors):
    return {name: one.clone() for name, one in tensors.items()}


def test_an_unlearner_that_keeps_every_promise_passes() -> None:
    check_unlearner(Careless())


@pytest.mark.parametrize("wrong", ["idle", "trusts", "all", "random", "holds", "lends", "scale", "asks"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check_unlearner(Careless(wrong))
