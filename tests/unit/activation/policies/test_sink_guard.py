import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer

from engramos.activation.policies import ROLE
from engramos.activation.policies.base import PROTECTED
from engramos.activation.policies.h2o import RECEIVED
from engramos.activation.policies.sink_guard import SinkGuard
from engramos.errors import ConfigError, UnknownMethodError


def test_sinks_stay_that_the_inner_policy_would_drop() -> None:
    view = random_layer(40, 0)
    view.keys[:, :4] *= 10
    assert all(not places & {0, 1, 2, 3} for places in kept(ROLE.make("knorm"), view, 10))
    assert all({0, 1, 2, 3} <= places for places in kept(SinkGuard("knorm"), view, 10))


def test_a_token_with_a_tiny_value_or_a_huge_key_stays() -> None:
    view = random_layer(40, 0)
    view.keys[:, [10, 20]] *= 30
    view.values[0, 17] *= 0.01
    guarded = SinkGuard("knorm", num_sinks=0).guarded(view)
    assert torch.nonzero(guarded[0]).flatten().tolist() == [10, 17, 20]
    assert torch.nonzero(guarded[1]).flatten().tolist() == [10, 20]
    assert {10, 17, 20} <= kept(SinkGuard("knorm", num_sinks=0), view, 5)[0]


def test_no_more_outliers_are_guarded_than_told_and_the_furthest_come_first() -> None:
    view = random_layer(40, 0)
    for place, times in ((5, 50.0), (6, 200.0), (7, 100.0)):
        view.keys[0, place] *= times / view.keys[0, place].norm()
    assert torch.nonzero(SinkGuard(num_sinks=0, max_massive=2).guarded(view)[0]).flatten().tolist() == [6, 7]
    assert not SinkGuard(num_sinks=0, max_massive=0).guarded(view).any()


def test_padding_is_no_outlier() -> None:
    view = random_layer(40, 0)
    view.positions[1, 30:] = -1
    view.values[1, 30:] = 0.0
    assert not SinkGuard().guarded(view)[1, 30:].any()


def test_everything_else_is_the_inner_policys() -> None:
    guard = SinkGuard('{ method = "snapkv", window = 16 }')
    assert guard.num_queries == 16
    assert guard.acts_in == {"prefill"}
    assert not guard.observes
    assert SinkGuard("sirllm").needs == {"surprisal"}
    view = random_layer(40, 40)
    heavy = SinkGuard("h2o")
    assert heavy.observes
    heavy.observe(view)
    assert RECEIVED in view.notes
    inner, outer = ROLE.make("h2o").score(view), heavy.score(view)
    assert torch.equal(outer[outer < PROTECTED], inner[outer < PROTECTED])
    assert SinkGuard('{ method = "h2o", recent_share = 1.0, is_averaged = true }').choose(
        torch.arange(9.0).flip(0)[None], torch.tensor([2])
    )[0].tolist() == [7, 8]


def test_an_inner_policy_that_is_unknown_or_wrong_is_refused() -> None:
    with pytest.raises(UnknownMethodError, match="no_such"):
        SinkGuard("no_such")
    with pytest.raises(ConfigError, match="windw"):
        SinkGuard('{ method = "snapkv", windw = 3 }')
    with pytest.raises(ConfigError, match="inner"):
        SinkGuard(" ")


@pytest.mark.parametrize("wrong", [{"num_sinks": -1}, {"max_massive": -1}, {"value_ratio": 1.0}, {"key_ratio": 1.0}])
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SinkGuard(**wrong)
