"""Few bits, a low rank of their error, and outliers."""

import pytest
import torch
from torch import Tensor

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.gear import Gear
from engramos.activation.codecs.int4 import Int4
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache, relative_error


def back(codec: Gear | Int4, given: list[Tensor], side: str) -> list[Tensor]:
    return codec.decode(codec.encode(given, side), side, torch.float32)


@pytest.mark.parametrize("side", [KEYS, VALUES])
def test_planted_outliers_come_back_as_half_precision_holds_them(side: str) -> None:
    given = cache(num_tokens=128)
    # one in each channel, and one in each token, so that both sides have their due
    tokens, channels = torch.arange(64) * 2, torch.arange(64)
    for one in given:
        one[:, tokens, channels] = 60.0 + channels
    found = back(Gear(outlier_ratio=0.04), given, side)
    for one in found:
        assert torch.equal(one[:, tokens, channels], (60.0 + channels).expand(2, 64))


@pytest.mark.parametrize("side", [KEYS, VALUES])
def test_outliers_do_not_widen_the_steps_of_the_others(side: str) -> None:
    given = cache(num_tokens=128)
    tokens, channels = torch.arange(64) * 2, torch.arange(64)
    spoilt = [one.clone() for one in given]
    for one in spoilt:
        one[:, tokens, channels] = 90.0
    is_other = torch.ones((128, 64), dtype=torch.bool)
    is_other[tokens, channels] = False

    def error(codec: Gear | Int4) -> float:
        found = back(codec, spoilt, side)
        return relative_error([one[:, is_other] for one in found], [one[:, is_other] for one in spoilt])

    assert error(Gear(rank=0, outlier_ratio=0.04)) < 0.4 * error(Int4(bits=2))


def test_an_error_of_low_rank_is_taken_away() -> None:
    for side in (KEYS, VALUES):
        given = cache(num_tokens=128)
        by_rank = [
            relative_error(back(Gear(rank=rank, outlier_ratio=0.0), given, side), given) for rank in (0, 4, 16, 64)
        ]
        assert by_rank == sorted(by_rank, reverse=True)
        assert by_rank[3] < 1e-3
        assert by_rank[0] == pytest.approx(relative_error(back(Int4(bits=2), given, side), given))


def test_the_bits_are_those_of_its_three_parts() -> None:
    parts = Gear(bits=2, rank=4, outlier_ratio=0.02).encode(cache(num_tokens=1024), KEYS)
    num_outliers = 2 * round(0.02 * 1024 / 2)
    wanted = 3 + 4 * 16 * (1024 + 64) / (1024 * 64) + num_outliers * (16 + 16) / 1024
    assert bits_per_value(parts, 2 * 2 * 1024 * 64) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("name", "value"), [("bits", 5), ("rank", -1), ("outlier_ratio", 1.0), ("group_size", 0), ("residual", -3)]
)
def test_wrong_parameters_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        Gear(**{name: value})


@pytest.mark.parametrize("place", [64, 255])
def test_places_beyond_the_channels_are_refused(place: int) -> None:
    parts = Gear().encode(cache(), VALUES)
    parts["places"][0, 0, 0, 0] = place
    with pytest.raises(CorruptPayloadError, match="places"):
        Gear().decode(parts, VALUES, torch.float32)


def test_places_below_zero_are_refused() -> None:
    codec = Gear()
    parts = codec.encode(cache(num_tokens=320), KEYS)
    assert parts["places"].dtype == torch.int16
    parts["places"][0, 0, 0, 0] = -1
    with pytest.raises(CorruptPayloadError, match="places"):
        codec.decode(parts, KEYS, torch.float32)
