"""Every KV policy keeps the promise of its role, over layers small and odd."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from engramos.activation.policies import ROLE
from engramos.activation.policies.base import LayerView, Policy
from engramos.testing.kv_policies import CHECKS, check_policy, parameters_of

torch.set_num_threads(1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_policy_passes(name: str, check: Callable[[Policy], None]) -> None:
    check(ROLE.make(name))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_policy_can_be_made_again_from_its_parameters_by_name(name: str) -> None:
    policy = ROLE.make(name)
    again = ROLE.make(name, **parameters_of(policy))
    assert again == policy
    assert repr(again) == repr(policy)


@dataclass(frozen=True)
class Careless(Policy):
    """Breaks one promise."""

    wrong: str = ""

    def score(self, view: LayerView) -> Tensor:
        if self.wrong == "writes":
            view.keys.mul_(2)
        return torch.full(view.positions.shape, float("nan") if self.wrong == "nan" else 0.0)

    def allot(self, scores: list[Tensor], demands: list[Tensor], num_tokens: int) -> Tensor:
        shares = Policy.allot(self, scores, demands, num_tokens)
        shares[0] += self.wrong == "spends"
        return shares

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        chosen = Policy.choose(self, scores, counts)
        return [torch.arange(len(one)) for one in chosen] if self.wrong == "deaf" else chosen


def test_the_suite_lets_a_sound_policy_pass() -> None:
    check_policy(Careless())


@pytest.mark.parametrize("wrong", ["writes", "nan", "spends", "deaf"])
def test_the_suite_sees_a_broken_promise(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check_policy(Careless(wrong))
