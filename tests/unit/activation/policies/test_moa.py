from dataclasses import replace

import pytest
import torch
from tests.unit.activation.policies.layers import random_layer, slow_attention
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.moa import MoA
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_a_span_is_alpha_and_beta_times_the_length() -> None:
    policy = MoA(heads=((10.0, 5.0),), slopes=((0.0, 0.25),), num_sinks=4)
    for length, wanted in ((100, [14.0, 34.0]), (200, [14.0, 59.0])):
        view = random_layer(length, 1)
        assert policy.demand(view, policy.score(view)).tolist() == wanted


def test_spans_are_scaled_to_fill_the_budget() -> None:
    policy = MoA(heads=((16.0, 56.0),), num_sinks=4)
    view = random_layer(100, 1)
    scores = policy.score(view)
    demands = [policy.demand(view, scores)]
    # one token for each head, and the rest as 20 to 60
    assert policy.allot([scores], demands, 41).tolist() == [[21, 61]]
    assert policy.allot([scores], demands, 21).tolist() == [[11, 31]]


def test_a_head_keeps_its_sink_tokens_and_its_span() -> None:
    policy = MoA(heads=((16.0, 56.0),), num_sinks=4)
    kept = policy.choose(policy.score(random_layer(100, 1)), torch.tensor([20, 60]))
    assert kept[0].tolist() == [*range(4), *range(84, 100)]
    assert kept[1].tolist() == [*range(4), *range(44, 100)]


def test_without_a_plan_a_span_holds_its_share_of_the_attention() -> None:
    near, far = even(1, 50, {49: 10_000.0}), even(1, 50, {20: 10_000.0, 49: 5000.0})
    view = attending(torch.stack([near, far]))
    policy = MoA(num_sinks=4)
    assert policy.demand(view, policy.score(view)).tolist() == [5.0, 34.0]


def test_the_span_found_is_the_least_one() -> None:
    view, policy = random_layer(30, 6), MoA(num_sinks=3, share=0.8)
    weights = slow_attention(view)
    for head, span in enumerate((policy.demand(view, policy.score(view)) - 3).tolist()):
        held = [
            sum(
                weights[3 * head + group][query][token]
                for group in range(3)
                for query in range(6)
                for token in range(25 + query)
                if token < 3 or 24 + query - token < reach
            )
            / 18
            for reach in (int(span) - 1, int(span))
        ]
        assert held[0] < 0.8 <= held[1] + 1e-5


def test_a_plan_keeps_the_promise_of_the_role() -> None:
    check_policy(MoA(heads=((3, 9), (5, 2), (0, 1)), slopes=((0.1, 0.1), (0.5, 0), (0, 1)), num_sinks=2))


def test_a_plan_of_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="heads is for 1 layers of 2 kv heads"):
        MoA(heads=((3.0, 4.0),)).demand(replace(random_layer(), num_layers=2), torch.zeros(2, 40))


@pytest.mark.parametrize(
    "wrong", [{"heads": ((-1.0,),)}, {"slopes": ((1.0,),)}, {"num_sinks": -1}, {"share": 0.0}, {"observation": 0}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MoA(**wrong)
