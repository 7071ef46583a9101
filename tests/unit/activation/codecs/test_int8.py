"""Eight bits and one scale for each token and head."""

import pytest
import torch

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.int8 import Int8
from engramos.testing.codecs import cache


@pytest.mark.parametrize(("head_dim", "bits"), [(64, 8.25), (128, 8.125), (32, 8.5)])
def test_it_takes_eight_bits_and_half_a_number_for_each_token(head_dim: int, bits: float) -> None:
    given = cache(head_dim=head_dim)
    assert bits_per_value(Int8().encode(given, KEYS), 2 * 2 * 70 * head_dim) == bits


def test_codes_are_the_nearest_whole_numbers_of_the_stored_scale() -> None:
    given = cache(1, 1, 6, 8)
    parts = Int8().encode(given, VALUES)
    for token in range(6):
        row = [float(one) for one in given[0][0, token]]
        scale = float(parts["scales"][0, 0, token])
        peak = max(abs(one) for one in row)
        assert peak / 127 <= scale <= peak / 127 * (1 + 2**-10)
        assert parts["codes"][0, 0, token].tolist() == [round(one / scale) for one in row]


def test_a_great_token_costs_the_others_nothing() -> None:
    given = cache(1, 1, 8)
    alone = Int8().decode(Int8().encode(given, KEYS), KEYS, torch.float32)[0]
    given[0][0, 3] *= 500
    beside = Int8().decode(Int8().encode(given, KEYS), KEYS, torch.float32)[0]
    others = [token for token in range(8) if token != 3]
    assert torch.equal(alone[0, others], beside[0, others])


def test_a_token_too_small_for_half_precision_becomes_small_and_not_nan() -> None:
    given = [torch.ones((1, 2, 64))]
    given[0][0, 1] = 1e-9
    found = Int8().decode(Int8().encode(given, KEYS), KEYS, torch.float32)[0]
    assert torch.equal(found[0, 0], given[0][0, 0]) or (found[0, 0] - 1).abs().max() < 1e-2
    assert found[0, 1].abs().max() < 1e-7


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_cache_out_of_half_precision_keeps_its_relative_error(size: float) -> None:
    given = [one * size for one in cache()]
    parts = Int8().encode(given, KEYS)
    assert parts["scales"].dtype == torch.float32
    found = Int8().decode(parts, KEYS, torch.float32)
    for one, other in zip(found, given, strict=True):
        assert ((one - other).abs().amax(-1) <= other.abs().amax(-1) * 0.00395).all()
