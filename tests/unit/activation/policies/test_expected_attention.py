import math

import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer

from engramos.activation.policies.base import PROTECTED
from engramos.activation.policies.expected_attention import ExpectedAttention
from engramos.errors import ConfigError


def test_scores_are_the_expected_weights_of_normal_queries_at_the_positions_ahead() -> None:
    view = random_layer(12, 12)
    scores = ExpectedAttention(num_future=3, num_sinks=2).score(view)
    dim = 8
    turn = torch.zeros(dim, dim, dtype=torch.float64)
    for position in (12, 13, 14):
        for pair in range(4):
            angle = position * 10_000.0 ** (-2 * pair / dim)
            turn[pair, pair] += math.cos(angle) / 3
            turn[pair + 4, pair + 4] += math.cos(angle) / 3
            turn[pair, pair + 4] -= math.sin(angle) / 3
            turn[pair + 4, pair] += math.sin(angle) / 3
    for head in range(2):
        weights = torch.zeros(10, dtype=torch.float64)
        for one in range(3):
            plain = view.rope.unrotate(view.queries[3 * head + one].double(), view.query_positions)[2:].double()
            mean = plain.mean(dim=0)
            spread = sum(torch.outer(row - mean, row - mean) for row in plain) / 10
            mean, spread = turn @ mean, turn @ spread @ turn.T
            keys = view.keys[head, 2:].double()
            weights += torch.softmax(
                torch.stack([key @ mean / dim**0.5 + key @ spread @ key / dim / 2 for key in keys]), dim=0
            )
        wanted = weights / 3 * view.values[head, 2:].double().norm(dim=-1)
        assert scores[head, 2:].tolist() == pytest.approx(wanted.tolist(), rel=1e-3)
        assert all(scores[head, :2] == PROTECTED)


def test_a_token_without_value_goes_first() -> None:
    view = random_layer(30, 30)
    view.values[:, 12] = 0.0
    assert all(12 not in places for places in kept(ExpectedAttention(), view, 29))


def test_without_the_values_length_only_attention_counts() -> None:
    view, other = random_layer(30, 30), random_layer(30, 30)
    other.values.mul_(torch.rand(2, 30, 1))
    policy = ExpectedAttention(is_value_weighted=False)
    assert torch.equal(policy.score(view), policy.score(other))


@pytest.mark.parametrize(
    "wrong", [{"num_future": 0}, {"num_observed": 0}, {"num_sinks": -1}, {"epsilon": -1.0}, {"epsilon": float("nan")}]
)
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ExpectedAttention(**wrong)
