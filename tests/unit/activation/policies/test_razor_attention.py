import pytest
import torch
from tests.unit.activation.policies.layers import random_layer
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.razor_attention import RazorAttention
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy

INDUCTION = tuple((layer / 10, layer / 10 + 0.05) for layer in range(10))
ECHO = tuple((1.0 if layer == 3 else 0.0, 0.0) for layer in range(10))


def allotted(policy: RazorAttention, num_tokens: int, budget: int) -> torch.Tensor:
    scores = [torch.zeros(2, num_tokens) for _ in range(10)]
    demands = [torch.tensor(row) for row in INDUCTION]
    return policy.allot(scores, demands, budget)


def test_a_share_of_the_heads_keeps_all_and_the_others_share_the_rest_alike() -> None:
    counts = allotted(RazorAttention(heads=INDUCTION, least_recent=20), 200, 55)
    # 14 % of 20 heads, rounded up, are 3; 17 heads share the 500 tokens that these leave of 1100
    assert counts.sum() == 1100
    assert counts.flatten().sort(descending=True).values[:3].tolist() == [200, 200, 200]
    assert counts[9].tolist() == [200, 200]
    assert set(counts.flatten().tolist()) == {200, 29, 30}


def test_the_others_keep_half_of_a_small_budget() -> None:
    counts = allotted(RazorAttention(heads=INDUCTION, least_recent=20), 200, 40)
    assert counts[:8].tolist() == [[20, 20]] * 8
    assert counts[8:].tolist() == [[20, 60], [200, 200]]


def test_the_others_never_get_more_than_sinks_and_the_newest_part() -> None:
    counts = allotted(RazorAttention(heads=INDUCTION, least_recent=20), 200, 190)
    assert set(counts.flatten().tolist()) == {200, 44}


def test_an_echo_head_keeps_all_whatever_its_induction_score() -> None:
    policy = RazorAttention(heads=INDUCTION, echo_heads=ECHO, least_recent=20)
    counts = allotted(policy, 200, 70)
    assert torch.nonzero(counts == 200).tolist() == [[3, 0], [8, 1], [9, 0], [9, 1]]
    # with room for one full head only it is the echo head
    assert torch.nonzero(allotted(policy, 200, 24) > 150).tolist() == [[3, 0]]


def test_a_head_that_does_not_look_back_keeps_sinks_and_newest() -> None:
    policy = RazorAttention(num_sinks=2, least_recent=6)
    view = attending(torch.stack([even(4, 64, dict.fromkeys(range(60, 64), 90.0)), even(4, 64, {30: 900.0})]))
    scores = policy.score(view)
    counts = policy.allot([scores], [policy.demand(view, scores)], 39)
    # a fifth of the context is more than the least newest part
    assert counts.tolist() == [[14, 64]]
    assert policy.choose(scores, torch.tensor([14, 64]))[0].tolist() == [0, 1, *range(52, 64)]


def test_tables_keep_the_promise_of_the_role() -> None:
    heads, echo = ((0.1, 0.9), (0.5, 0.2), (0, 1)), ((0.1, 0), (0, 0.2), (0, 0))
    check_policy(RazorAttention(heads=heads, echo_heads=echo, num_sinks=2, least_recent=4))


def test_echo_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match="echo_heads"):
        RazorAttention(heads=((1.0, 0.0),), echo_heads=((1.0,),))


def test_a_table_of_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 layers"):
        RazorAttention(heads=INDUCTION).demand(random_layer(), torch.zeros(2, 40))


@pytest.mark.parametrize("wrong", [{"induction_share": 0.0}, {"recent_share": 2.0}, {"least_recent": 0}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RazorAttention(**wrong)
