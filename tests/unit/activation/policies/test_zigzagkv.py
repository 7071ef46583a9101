import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.snapkv import SnapKV
from engramos.activation.policies.zigzagkv import ZigZagKV
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_a_layer_is_the_more_uncertain_the_more_tokens_hold_most_of_its_attention() -> None:
    policy = ZigZagKV(window=1)
    # 8 tokens hold 0.97, 7 of them 0.85: only all eight reach nine tenths
    sharp = attending(even(1, 16, dict.fromkeys(range(8), 64.0))[None])
    assert policy.demand(sharp, policy.score(sharp)).tolist() == [8.0]
    spread = attending(even(1, 16)[None])
    assert policy.demand(spread, policy.score(spread)).tolist() == [15.0]


def test_the_demand_is_the_mean_over_heads_of_the_least_number_of_tokens() -> None:
    policy, view = ZigZagKV(window=6), random_layer(40, 6)
    numbers = []
    for rows in slow_attention(view):
        mean = sorted((sum(column) / 6 for column in zip(*rows, strict=True)), reverse=True)
        numbers.append(next(num for num in range(1, 41) if sum(mean[:num]) >= 0.9))
    wanted = sum(numbers) / len(numbers)
    assert policy.demand(view, policy.score(view)).tolist() == pytest.approx([wanted, wanted])


def test_every_layer_gets_the_least_budget_and_a_part_of_the_rest() -> None:
    scores = [torch.rand(2, 100) for _ in range(3)]
    demands = [torch.full((2,), wanted) for wanted in (10.0, 30.0, 60.0)]
    counts = ZigZagKV(floor_share=0.5).allot(scores, demands, 20)
    assert counts.tolist() == [[13, 13], [19, 19], [28, 28]]


def test_within_a_layer_it_keeps_what_snapkv_keeps() -> None:
    view = random_layer(60, 60)
    assert kept(ZigZagKV(window=8, kernel=5), view, 20) == kept(SnapKV(window=8, kernel=5), view, 20)


def test_a_budget_below_the_window_keeps_the_newest_of_it() -> None:
    assert kept(ZigZagKV(window=8), random_layer(30, 30), 3) == [{27, 28, 29}] * 2


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(ZigZagKV(window=2, kernel=1))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"kernel": 2}, {"share": 0.0}, {"floor_share": 1.5}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ZigZagKV(**wrong)
