import pytest
import torch
from tests.unit.activation.policies.layers import random_layer, slow_attention

from engramos.activation.policies.kvcompose import KVCompose
from engramos.activation.view import PROBE
from engramos.testing.kv_policies import check_policy


def test_the_context_is_read_again_and_the_greatest_attention_is_averaged_over_groups() -> None:
    policy = KVCompose(mixes_heads=False)
    assert list(policy.probes([5, 6, 7], list)) == [[5, 6, 7]]
    view = random_layer(24, 12, phase=PROBE)
    policy.observe(view)
    weights, scores = slow_attention(view), policy.score(view)
    for head in range(2):
        for token in range(12):
            greatest = [max(row[token] for row in weights[3 * head + group]) for group in range(3)]
            assert float(scores[head, token]) == pytest.approx(sum(greatest) / 3, rel=1e-4)


def test_the_mean_over_heads_is_added_to_each_head() -> None:
    view = random_layer(24, 12, phase=PROBE)
    KVCompose().observe(view)
    plain = KVCompose(mixes_heads=False).score(view)
    assert torch.allclose(KVCompose().score(view), plain + (plain[0] + plain[1]) / 2)


def test_heads_keep_their_own_tokens_but_equally_many() -> None:
    scores = torch.tensor([[9.0, 1.0, 8.0, 2.0, 3.0], [1.0, 9.0, 2.0, 8.0, 3.0]])
    policy = KVCompose()
    counts = policy.allot([scores], [], 2)
    assert counts.tolist() == [[2, 2]]
    assert [one.tolist() for one in policy.choose(scores, counts[0])] == [[0, 2], [1, 3]]


def test_layers_compete_with_the_means_of_equal_ranks() -> None:
    # the best composite tokens: 9, 9, 8, 8 of the first layer (as good as any at each rank), then 9, 8 of the second
    weak = torch.tensor([[4.0, 3.0, 2.0, 1.0], [2.0, 2.0, 1.0, 1.0]])
    strong = torch.tensor([[10.0, 8.0, 7.0, 1.0], [6.0, 8.0, 9.0, 10.0]])
    lowest = weak / 10
    counts = KVCompose().allot([weak, strong, lowest], [], 2)
    # composite scores: strong is 10, 8.5, 7.5, 3.5; the first layer counts as much at every rank
    assert counts.tolist() == [[3, 3], [2, 2], [1, 1]]


def test_without_mixing_it_keeps_the_promise_of_the_role() -> None:
    check_policy(KVCompose(mixes_heads=False))
