"""Policies that share the budget out: PyramidKV over layers, AdaKV over heads."""

import pytest
import torch

from engramos.activation.policies.adakv import AdaKV
from engramos.activation.policies.base import PROTECTED
from engramos.activation.policies.pyramidkv import PyramidKV
from engramos.errors import ConfigError


def flat(num_layers: int = 5, num: int = 400) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return scores and demands of layers that are all alike."""
    return [torch.rand(2, num)] * num_layers, [torch.ones(2)] * num_layers


def test_pyramid_budgets_fall_evenly_and_their_mean_is_the_budget() -> None:
    shares = PyramidKV(window=4, beta=10).allot(*flat(), 100)
    assert shares[:, 0].tolist() == [190, 145, 100, 55, 10]
    assert torch.equal(shares[:, 0], shares[:, 1])


def test_pyramid_leaves_the_first_layer_no_more_than_the_prompt_without_its_window() -> None:
    shares = PyramidKV(window=8, beta=10).allot(*flat(num=150), 100)
    assert shares[:, 0].tolist() == [142, 121, 100, 79, 58]


def test_pyramid_is_even_where_the_last_layer_would_not_hold_the_window() -> None:
    assert PyramidKV(window=64, beta=20).allot(*flat(), 100).unique().tolist() == [100]


@pytest.mark.parametrize("num_layers", [1, 2, 7, 30])
@pytest.mark.parametrize("num_tokens", [37, 101, 200])
def test_pyramid_never_spends_more_than_the_budget(num_layers: int, num_tokens: int) -> None:
    shares = PyramidKV(window=1, beta=3).allot(*flat(num_layers), num_tokens)
    assert int(shares.sum()) <= num_tokens * shares.numel()
    assert int(shares.sum()) >= (num_tokens - 1) * shares.numel()


def test_ada_gives_a_head_what_its_scores_win() -> None:
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0, 0.1, 0.1], [5.0, 0.2, 0.2, 0.2, 0.2, 0.2]])
    assert AdaKV(floor=0.0).allot([scores], [torch.ones(2)], 3).tolist() == [[4, 2]]
    policy = AdaKV(floor=1.0)
    assert policy.allot([scores], [torch.ones(2)], 3).tolist() == [[3, 3]]


def test_ada_makes_every_head_sure_of_its_floor() -> None:
    scores = torch.stack((torch.full((100,), 5.0), torch.linspace(0.001, 0.002, 100)))
    assert AdaKV(floor=0.2).allot([scores], [torch.ones(2)], 50).tolist() == [[90, 10]]


def test_ada_shares_what_is_protected_in_all_heads_fairly() -> None:
    scores = torch.zeros(2, 20)
    scores[:, :10] = PROTECTED
    assert AdaKV().allot([scores], [torch.ones(2)], 4).tolist() == [[4, 4]]


def test_ada_takes_layer_budgets_from_the_inner_policy() -> None:
    torch.manual_seed(0)
    shares = AdaKV('{ method = "pyramidkv", window = 4, beta = 10 }').allot(*flat(), 100)
    assert shares.sum(dim=1).tolist() == [380, 290, 200, 110, 20]


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="beta is 0"):
        PyramidKV(beta=0)
    with pytest.raises(ConfigError, match="window is 0"):
        PyramidKV(window=0)
    with pytest.raises(ConfigError, match="kernel is 2"):
        PyramidKV(kernel=2)
    with pytest.raises(ConfigError, match=r"floor is 1\.5"):
        AdaKV(floor=1.5)


def test_half_of_an_odd_number_of_tokens_is_a_pyramid_as_half_of_an_even_one_is() -> None:
    for num in (300, 301):
        shares = PyramidKV(window=16).allot(*flat(num=num), num // 2)
        assert shares[0, 0].item() == num - 16
        assert shares[-1, 0].item() == 16 - num % 2
