"""Blend renews the tokens that deviate most."""

import pytest
import torch

from engramos.activation.fusion.blend import Blend
from engramos.errors import ConfigError


def test_the_largest_deviations_are_chosen_in_their_order() -> None:
    deviation = torch.tensor([0.0, 0.0, 5.0, 1.0, 9.0, 2.0, 0.5, 3.0, 0.1, 0.2])
    assert Blend(0.3).choose((2, 8), deviation).tolist() == [2, 4, 7]


def test_all_tokens_are_chosen_at_a_ratio_of_one() -> None:
    assert Blend(1.0).choose((2, 3), torch.zeros(5)).tolist() == [0, 1, 2, 3, 4]


def test_a_small_ratio_chooses_one_token_at_least() -> None:
    assert Blend(0.01).choose((2, 3), torch.tensor([0.0, 0.0, 1.0, 3.0, 2.0])).tolist() == [3]


def test_equal_deviations_are_chosen_from_the_front() -> None:
    assert Blend(0.5).choose((4,), torch.ones(4)).tolist() == [0, 1]


def test_the_comparison_is_at_the_layer_that_is_given() -> None:
    assert Blend().check_layer == 3
    assert Blend(compared_at=1).check_layer == 1


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.01, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="ratio"):
        Blend(ratio)


def test_a_comparison_before_anything_has_changed_is_refused() -> None:
    with pytest.raises(ConfigError, match="compared_at is 0"):
        Blend(compared_at=0)
