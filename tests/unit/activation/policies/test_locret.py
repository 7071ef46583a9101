import math
from dataclasses import replace

import pytest
import torch
from tests.unit.activation.policies.layers import kept, layer_of, random_layer

from engramos.activation.policies.locret import SCORE, Locret
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def weights(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a network for 6 heads of 8 numbers over 2 kv heads."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(6 * 8 + 2 * 2 * 8, 5, generator=random), torch.randn(5, 2, generator=random)


def test_a_score_is_what_the_network_says_of_query_key_and_value() -> None:
    view, (first, second) = random_layer(12, 12), weights()
    policy = Locret(weights=((first, second),), window=1)
    policy.observe(view)
    for token in range(11):
        turned = [view.rope.unrotate(one[token], torch.tensor(token)) for one in (*view.queries, *view.keys)]
        read = torch.cat([*turned, *(one[token] for one in view.values)]).double()
        inner = [float(read @ first[:, unit].double()) for unit in range(5)]
        inner = [one / (1 + math.exp(-one)) for one in inner]
        for head in range(2):
            wanted = sum(one * float(second[unit, head]) for unit, one in enumerate(inner))
            assert float(view.notes[SCORE][head, token]) == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_what_was_said_of_earlier_blocks_stays() -> None:
    policy, view = Locret(weights=(weights(),)), random_layer(12, 12)
    policy.observe(view)
    half = replace(view, queries=view.queries[:, 7:], query_positions=view.query_positions[7:], notes={}, _attention={})
    half.notes[SCORE] = torch.full((2, 12), 5.0)
    policy.observe(half)
    assert torch.allclose(half.notes[SCORE][:, 7:], view.notes[SCORE][:, 7:], atol=1e-5)
    assert half.notes[SCORE][:, :7].eq(5.0).all()


def test_the_network_decides_and_the_newest_tokens_stay() -> None:
    first, second = torch.zeros(6 * 8 + 2 * 2 * 8, 1), torch.ones(1, 2)
    # it reads the first number of the first head's value alone
    first[6 * 8 + 2 * 8, 0] = 1.0
    view = random_layer(20, 20)
    view.values[0, :, 0] = 0.0
    view.values[0, 6, 0], view.values[0, 11, 0] = 4.0, 3.0
    policy = Locret(weights=((first.tolist(), second.tolist()),), window=2)
    policy.observe(view)
    assert kept(policy, view, 4) == [{6, 11, 18, 19}] * 2


def test_the_default_is_the_norm_of_the_value_times_how_far_the_key_points_away() -> None:
    keys = torch.zeros(1, 10, 4)
    keys[0, :, 0] = 1.0
    keys[0, 3], keys[0, 6] = torch.tensor([0.0, 2.0, 0, 0]), torch.tensor([0.0, 0, 2.0, 0])
    values = torch.ones_like(keys)
    values[0, 6] = 0.1
    values[0, 2] = 50.0
    view = layer_of(keys, values=values)
    policy = Locret(window=1)
    scores = policy.score(view)
    mean = keys[0].double().mean(dim=0)
    for token in range(9):
        key, value = keys[0, token].double(), values[0, token].double()
        wanted = value.norm() * (1 - key @ mean / key.norm() / mean.norm())
        assert float(scores[0, token]) == pytest.approx(float(wanted), abs=1e-5)
    assert 3 in kept(policy, view, 3)[0]


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(Locret(window=1))


def test_a_network_of_another_model_is_refused() -> None:
    first, second = weights()
    with pytest.raises(ConfigError, match="2 layers and the model has 1"):
        Locret(weights=(weights(), weights())).observe(random_layer())
    with pytest.raises(ConfigError, match=r"give \(80, inner\) and \(inner, 2\)"):
        Locret(weights=((first[1:], second),)).observe(random_layer())
    with pytest.raises(ConfigError, match="give first and second"):
        Locret(weights=((first,),))


def test_a_window_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="window"):
        Locret(window=0)
