import pytest
import torch
from tests.unit.activation.policies.layers import kept, layer_of, random_layer, slow_attention

from engramos.activation.policies.tova import TOVA
from engramos.activation.view import DECODE


def test_scores_are_the_newest_querys_attention_averaged_over_all_heads() -> None:
    view = random_layer(20, 5)
    scores, weights = TOVA().score(view), slow_attention(view)
    for token in range(19):
        mean = sum(weights[head][-1][token] for head in range(6)) / 6
        assert scores[0, token].item() == pytest.approx(mean, rel=1e-4)
    assert torch.equal(scores[0], scores[1])


def test_all_heads_keep_the_same_tokens_and_the_newest_is_one_of_them() -> None:
    first, second = kept(TOVA(), random_layer(20, 1), 6)
    assert first == second
    assert 19 in first


def test_in_decode_the_token_that_the_newest_query_sees_least_goes() -> None:
    keys = torch.zeros(2, 6, 4)
    keys[:, 3, 0] = -5.0
    view = layer_of(keys, queries=torch.ones(2, 1, 4), phase=DECODE)
    assert kept(TOVA(), view, 5) == [{0, 1, 2, 4, 5}] * 2


def test_heads_that_hold_different_tokens_are_matched_by_position() -> None:
    view = random_layer(3, 1)
    view.positions = torch.tensor([[0, 4, 9], [4, 9, -1]])
    view.query_positions = torch.tensor([9])
    scores, weights = TOVA().score(view), slow_attention(view)
    at_four = sum(weights[head][0][1] for head in range(3)) + sum(weights[head][0][0] for head in range(3, 6))
    assert scores[0, 1].item() == pytest.approx(at_four / 6, rel=1e-4)
    assert scores[1, 0].item() == scores[0, 1].item()
    assert scores[0, 0].item() == pytest.approx(sum(weights[head][0][0] for head in range(3)) / 3, rel=1e-4)
