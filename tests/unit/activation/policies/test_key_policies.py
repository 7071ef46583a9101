"""Policies that need keys and values alone: Knorm, KeyDiff, LagKV."""

import pytest
import torch
from tests.unit.activation.policies.layers import kept, layer_of, random_layer

from engramos.activation.policies.base import PROTECTED
from engramos.activation.policies.keydiff import KeyDiff
from engramos.activation.policies.knorm import Knorm
from engramos.activation.policies.lagkv import LagKV
from engramos.errors import ConfigError


def test_knorm_keeps_the_shortest_keys() -> None:
    lengths = torch.tensor([[5.0, 1.0, 4.0, 2.0, 3.0]])
    keys = lengths[..., None] * torch.tensor([0.6, 0.0, 0.8, 0.0])
    assert kept(Knorm(), layer_of(keys), 3) == [{1, 3, 4}]


def test_knorm_tells_keys_apart_whose_bfloat16_norms_would_be_equal() -> None:
    keys = torch.full((1, 2, 64), 1.0, dtype=torch.bfloat16)
    keys[0, 0, 0] = 1.125
    scores = Knorm().score(layer_of(keys))
    assert scores[0, 0] < scores[0, 1]


def test_keydiff_keeps_the_keys_that_point_elsewhere() -> None:
    keys = torch.tensor([1.0, 0.1, 0.0, 0.0]).repeat(1, 12, 1)
    keys[0, 4], keys[0, 7] = torch.tensor([0.0, 0.0, 3.0, 0.0]), torch.tensor([-1.0, 0.0, 0.0, 0.5])
    assert kept(KeyDiff(), layer_of(keys), 2) == [{4, 7}]


def test_keydiff_is_the_negative_cosine_to_the_mean_direction() -> None:
    view = random_layer(9, 0)
    scores = KeyDiff().score(view)
    for head in range(2):
        keys = [key / key.norm() for key in view.keys[head].double()]
        anchor = sum(keys) / 9
        for token in range(9):
            assert scores[head, token].item() == pytest.approx(-float(keys[token] @ anchor / anchor.norm()), rel=1e-4)


def test_keydiff_leaves_padding_out_of_the_mean() -> None:
    view, padded = random_layer(9, 0), random_layer(9, 0)
    short = layer_of(view.keys[:, :6])
    padded.positions[:, 6:] = -1
    assert torch.allclose(KeyDiff().score(padded)[:, :6], KeyDiff().score(short))


def uneven(part: torch.Tensor, following: torch.Tensor) -> list[float]:
    """Return LagKV's score of each token of a part, with loops."""
    spreads = []
    for token in part.double():
        scaled = []
        for channel in range(part.shape[1]):
            low, high = following[:, channel].min(), following[:, channel].max()
            scaled.append(float((token[channel] - low.double()) / (high.double() - low.double())))
        mean = sum(scaled) / len(scaled)
        spreads.append((sum((one - mean) ** 2 for one in scaled) / (len(scaled) - 1)) ** 0.5)
    raised = torch.tensor(spreads).exp()
    return (raised / raised.sum()).tolist()


def test_lagkv_ranks_each_part_in_the_range_of_the_next() -> None:
    view = random_layer(2 + 3 * 5 + 4, 0)
    scores = LagKV(num_sinks=2, lag=5).score(view)
    for head in range(2):
        for start in (2, 7):
            both = zip(
                uneven(view.keys[head, start : start + 5], view.keys[head, start + 5 : start + 10]),
                uneven(view.values[head, start : start + 5], view.values[head, start + 5 : start + 10]),
                strict=True,
            )
            means = [(one + other) / 2 for one, other in both]
            ranks = [sum(other < mine for other in means) / 5 for mine in means]
            assert scores[head, start : start + 5].tolist() == pytest.approx(ranks)
        assert all(scores[head, :2] == PROTECTED)
        assert all(scores[head, 12:] == PROTECTED)


def test_lagkv_keeps_sinks_and_the_newest_of_a_short_text() -> None:
    assert kept(LagKV(num_sinks=2, lag=16), random_layer(20, 0), 6) == [{0, 1, 16, 17, 18, 19}] * 2


def test_lagkv_in_order_keeps_sinks_and_the_newest_where_the_budget_is_below_two_parts() -> None:
    view = random_layer(2 + 4 * 8, 0)
    assert kept(LagKV(num_sinks=2, lag=8, is_ordered=True), view, 6) == [{0, 1, 30, 31, 32, 33}] * 2


def test_lagkv_survives_a_channel_that_never_changes() -> None:
    view = random_layer(40, 0)
    view.keys[:, :, 3] = 1.0
    assert bool(LagKV(num_sinks=0, lag=8).score(view).isnan().logical_not().all())


def test_lagkv_scores_a_shorter_head_as_if_it_were_alone() -> None:
    view, policy = random_layer(40, 0), LagKV(num_sinks=2, lag=8)
    alone = layer_of(view.keys[1:, :27], values=view.values[1:, :27])
    view.positions[1, 27:] = -1
    assert torch.equal(policy.score(view)[1, :27], policy.score(alone)[0])


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_sinks is -1"):
        LagKV(num_sinks=-1)
    with pytest.raises(ConfigError, match="lag is 1"):
        LagKV(lag=1)
