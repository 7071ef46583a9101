from dataclasses import replace

import pytest
import torch
from tests.unit.activation.policies.layers import random_layer
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.duo_attention import DuoAttention
from engramos.activation.view import DECODE
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy

GATES = ((0.1, 0.9), (0.8, 0.2), (0.3, 0.4))


def allotted(policy: DuoAttention, num_tokens: int, budget: int) -> list[list[int]]:
    """Return what the heads of three layers of two heads keep."""
    views = [replace(random_layer(num_tokens, 4), layer=layer, num_layers=3) for layer in range(3)]
    scores = [policy.score(view) for view in views]
    demands = [policy.demand(view, row) for view, row in zip(views, scores, strict=True)]
    return policy.allot(scores, demands, budget).tolist()


def test_heads_of_the_greatest_gates_keep_all_and_the_others_sinks_and_window() -> None:
    policy = DuoAttention(heads=GATES, num_sinks=2, recent=8)
    # six heads of 40 on average: two of 100, and 10 for each of the four others
    assert allotted(policy, 100, 40) == [[10, 100], [100, 10], [10, 10]]


def test_the_next_head_gets_what_is_left_and_the_budget_is_spent_to_the_token() -> None:
    counts = allotted(DuoAttention(heads=GATES, num_sinks=2, recent=8), 100, 45)
    assert counts == [[10, 100], [100, 10], [10, 40]]
    assert sum(map(sum, counts)) == 45 * 6


def test_a_streaming_head_keeps_exactly_its_sink_tokens_and_its_newest() -> None:
    policy = DuoAttention(heads=GATES, num_sinks=2, recent=8)
    kept = policy.choose(policy.score(random_layer(100, 4)), torch.tensor([10, 100]))
    assert kept[0].tolist() == [0, 1, *range(92, 100)]
    assert kept[1].tolist() == list(range(100))


def test_a_small_budget_shortens_sink_tokens_and_window_alike() -> None:
    policy = DuoAttention(heads=GATES)
    counts = allotted(policy, 1000, 100)
    assert counts == [[50, 350], [50, 50], [50, 50]]
    kept = policy.choose(policy.score(random_layer(1000, 4)), torch.tensor([50, 1]))
    assert kept[0].tolist() == [*range(10), *range(960, 1000)]
    assert kept[1].tolist() == [999]


def test_without_gates_a_head_that_looks_far_back_is_a_retrieval_head() -> None:
    weights = torch.stack([even(4, 64, dict.fromkeys(range(60, 64), 90.0)), even(4, 64, {30: 900.0})])
    view = attending(weights)
    policy = DuoAttention(num_sinks=2, recent=4)
    scores = policy.score(view)
    demand = policy.demand(view, scores)
    assert demand[1] > 0.8 > 0.3 > demand[0]
    assert policy.allot([scores], [demand], 35).tolist() == [[6, 64]]


def test_while_tokens_are_produced_the_head_that_kept_more_stays_the_retrieval_head() -> None:
    positions = torch.full((2, 20), -1)
    positions[0, :20] = torch.arange(20)
    positions[1, :6] = torch.tensor([0, 1, 16, 17, 18, 19])
    view = random_layer(20, 1, positions=positions, query_positions=torch.tensor([19]), phase=DECODE)
    policy = DuoAttention(num_sinks=2, recent=4)
    scores = policy.score(view).masked_fill(positions < 0, float("-inf"))
    assert policy.allot([scores], [policy.demand(view, scores)], 12).tolist() == [[18, 6]]


def test_gates_of_another_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads is for 3 layers of 2 kv heads and the model has 1 of 2"):
        DuoAttention(heads=GATES).demand(random_layer(), torch.zeros(2, 40))


def test_gates_in_lists_are_the_same_gates() -> None:
    assert DuoAttention(heads=[list(row) for row in GATES]) == DuoAttention(heads=GATES)
    check_policy(DuoAttention(heads=GATES, num_sinks=2, recent=3))


@pytest.mark.parametrize(
    "wrong", [{"heads": ((1.0,), (1.0, 2.0))}, {"heads": ((float("nan"),),)}, {"num_sinks": -1}, {"recent": 0}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DuoAttention(**wrong)
