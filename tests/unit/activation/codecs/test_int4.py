"""Few bits: keys by channel, values by token."""

import pytest
import torch
from torch import Tensor

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.int4 import Int4
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache


def back(codec: Int4, given: list[Tensor], side: str) -> Tensor:
    return torch.stack(codec.decode(codec.encode(given, side), side, torch.float32))


@pytest.mark.parametrize(("bits", "wanted"), [(2, 3.0), (4, 5.0), (8, 9.0)])
@pytest.mark.parametrize("side", [KEYS, VALUES])
def test_it_takes_its_bits_and_two_numbers_for_each_group(side: str, bits: int, wanted: float) -> None:
    parts = Int4(bits=bits).encode(cache(num_tokens=128), side)
    assert bits_per_value(parts, 2 * 2 * 128 * 64) == wanted


def test_two_codes_are_a_byte() -> None:
    assert Int4().encode(cache(num_tokens=64), KEYS)["codes"].shape == (2, 2, 64, 32)


def test_a_great_channel_of_keys_costs_the_others_nothing() -> None:
    given = cache(num_tokens=64)
    alone = back(Int4(), given, KEYS)
    for one in given:
        one[:, :, 7] *= 100
    beside = back(Int4(), given, KEYS)
    others = [channel for channel in range(64) if channel != 7]
    assert torch.equal(alone[..., others], beside[..., others])
    error = (back(Int4(), given, VALUES) - torch.stack(given))[..., others].abs().mean()
    assert error > 2 * (beside - torch.stack(given))[..., others].abs().mean()


def test_a_great_token_of_values_costs_the_others_nothing() -> None:
    given = cache(num_tokens=64)
    alone = back(Int4(), given, VALUES)
    for one in given:
        one[:, 7] *= 100
    beside = back(Int4(), given, VALUES)
    others = [token for token in range(64) if token != 7]
    assert torch.equal(alone[:, :, others], beside[:, :, others])


def test_keys_share_a_scale_along_tokens_and_values_along_channels() -> None:
    assert Int4().encode(cache(num_tokens=96), KEYS)["scales"].shape == (2, 2, 3, 64)
    assert Int4().encode(cache(num_tokens=96), VALUES)["scales"].shape == (2, 2, 96, 2)


def test_tokens_that_fill_no_group_of_keys_stay_as_they_are() -> None:
    given = cache(num_tokens=70)
    found = back(Int4(), given, KEYS)
    assert torch.equal(found[:, :, 64:], torch.stack(given)[:, :, 64:])
    assert not torch.equal(found[:, :, :64], torch.stack(given)[:, :, :64])


@pytest.mark.parametrize("side", [KEYS, VALUES])
def test_the_newest_tokens_stay_as_they_are(side: str) -> None:
    given = cache(num_tokens=96, dtype=torch.bfloat16)
    codec = Int4(residual=32)
    parts = codec.encode(given, side)
    assert parts["newest"].dtype == torch.bfloat16
    found = torch.stack(codec.decode(parts, side, torch.bfloat16))
    assert torch.equal(found[:, :, 64:], torch.stack(given)[:, :, 64:])
    assert not torch.equal(found[:, :, :64], torch.stack(given)[:, :, :64])


def test_a_group_of_equal_numbers_comes_back_as_half_precision_holds_it() -> None:
    given = [torch.full((1, 33, 64), 0.1)]
    for side in (KEYS, VALUES):
        assert (back(Int4(), given, side) - 0.1).abs().max() < 1e-4


def test_heads_that_no_group_divides_have_smaller_groups() -> None:
    assert Int4().encode(cache(head_dim=80), VALUES)["scales"].shape == (2, 2, 70, 4)


@pytest.mark.parametrize(
    ("name", "value"), [("bits", 3), ("bits", 16), ("group_size", 0), ("residual", -1), ("num_sinks", -1)]
)
def test_wrong_parameters_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        Int4(**{name: value})


def test_scales_that_are_no_scales_are_refused() -> None:
    for number in (float("nan"), float("inf"), -1.0):
        parts = Int4().encode(cache(), KEYS)
        parts["scales"][0, 0, 0, 0] = number
        with pytest.raises(CorruptPayloadError, match="scales"):
            Int4().decode(parts, KEYS, torch.float32)


def test_parts_of_keys_are_no_parts_of_values() -> None:
    with pytest.raises(CorruptPayloadError, match="scales"):
        Int4().decode(Int4().encode(cache(num_tokens=64), KEYS), VALUES, torch.float32)


def test_sink_tokens_stay_as_they_are_and_are_no_part_of_groups() -> None:
    given = cache(num_tokens=70)
    codec = Int4(num_sinks=6)
    for side in (KEYS, VALUES):
        found = codec.decode(codec.encode(given, side), side, torch.float32)
        given_less = [one[:, 6:] for one in given]
        alone = Int4().decode(Int4().encode(given_less, side), side, torch.float32)
        for one, other, later in zip(found, given, alone, strict=True):
            assert torch.equal(one[:, :6], other[:, :6])
            assert torch.equal(one[:, 6:], later)
