"""Few bits after a random rotation."""

import itertools
import math

import pytest
import torch

from engramos.activation.codecs._rotation import codebook, rotation
from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.rotated import Rotated
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache, relative_error

SIGNS = [1, -1, -1, -1, 1, 1, -1, -1, 1, 1, 1, 1, -1, -1, -1, 1]
"""The first signs of seed 0: caches that were stored depend on them."""


@pytest.mark.parametrize(("bits", "wanted"), [(2, 2.25), (3, 3.25), (4, 4.25)])
def test_it_takes_its_bits_and_one_number_for_each_token(bits: int, wanted: float) -> None:
    assert bits_per_value(Rotated(bits=bits).encode(cache(), KEYS), 2 * 2 * 70 * 64) == wanted


@pytest.mark.parametrize("width", [1, 2, 3, 64, 80, 96, 128, 256])
def test_the_rotation_keeps_lengths_and_angles(width: int) -> None:
    turn = rotation(width, 3).double()
    assert (turn @ turn.T - torch.eye(width)).abs().max() < 1e-6


def test_the_rotation_of_a_seed_is_the_same_everywhere() -> None:
    assert (rotation(64, 0)[:, 0] * 8).round().int()[:16].tolist() == SIGNS
    assert not torch.equal(rotation(64, 0), rotation(64, 1))


def test_the_codebook_is_that_of_max() -> None:
    # J. Max, Quantizing for minimum distortion, 1960, table I
    tables = {
        2: [0.4528, 1.510],
        3: [0.2451, 0.7560, 1.344, 2.152],
        4: [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
    }
    for bits, wanted in tables.items():
        centres, bounds = codebook(bits)
        assert list(centres[len(wanted) :]) == pytest.approx(wanted, rel=5e-4)
        assert [-one for one in reversed(centres)] == pytest.approx(list(centres), abs=1e-9)
        assert list(bounds) == pytest.approx([(a + b) / 2 for a, b in itertools.pairwise(centres)])


@pytest.mark.parametrize(("bits", "distortion"), [(2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_the_error_is_near_to_the_least_of_a_normal_distribution(bits: int, distortion: float) -> None:
    random = torch.Generator().manual_seed(4)
    given = [torch.randn((2, 500, 128), generator=random)]
    codec = Rotated(bits=bits)
    found = codec.decode(codec.encode(given, KEYS), KEYS, torch.float32)
    assert relative_error(found, given) == pytest.approx(math.sqrt(distortion), rel=0.03)


def test_a_vector_with_all_its_length_in_one_channel_is_coded_as_any_other() -> None:
    random = torch.Generator().manual_seed(4)
    given = [torch.randn((1, 64, 64), generator=random) * 0.05]
    given[0][0, :, 9] = 10.0
    for side in (KEYS, VALUES):
        found = Rotated().decode(Rotated().encode(given, side), side, torch.float32)
        assert relative_error(found, given) < 0.3


def test_codes_are_read_with_the_seed_that_they_were_made_with() -> None:
    given = cache()
    parts = Rotated(seed=5).encode(given, KEYS)
    assert relative_error(Rotated(seed=5).decode(parts, KEYS, torch.float32), given) < 0.2
    assert relative_error(Rotated(seed=6).decode(parts, KEYS, torch.float32), given) > 1.0


def test_the_newest_tokens_stay_as_they_are() -> None:
    given = cache(num_tokens=40)
    codec = Rotated(residual=10)
    found = codec.decode(codec.encode(given, KEYS), KEYS, torch.float32)
    assert all(torch.equal(one[:, 30:], other[:, 30:]) for one, other in zip(found, given, strict=True))


@pytest.mark.parametrize(("name", "value"), [("bits", 1), ("bits", 8), ("residual", -1), ("num_sinks", -1)])
def test_wrong_parameters_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        Rotated(**{name: value})


def test_a_width_that_no_model_has_is_refused_before_its_rotation_is_made() -> None:
    parts = Rotated().encode(cache(num_tokens=0), KEYS)
    parts["newest"] = torch.zeros((2, 2, 0, 1_000_000))
    parts["codes"] = torch.zeros((2, 2, 0, 375_000), dtype=torch.uint8)
    with pytest.raises(CorruptPayloadError, match="head_dim"):
        Rotated().decode(parts, KEYS, torch.float32)


def test_sink_tokens_stay_as_they_are_and_are_no_part_of_groups() -> None:
    given = cache(num_tokens=70)
    codec = Rotated(num_sinks=6)
    for side in (KEYS, VALUES):
        found = codec.decode(codec.encode(given, side), side, torch.float32)
        given_less = [one[:, 6:] for one in given]
        alone = Rotated().decode(Rotated().encode(given_less, side), side, torch.float32)
        for one, other, later in zip(found, given, alone, strict=True):
            assert torch.equal(one[:, :6], other[:, :6])
            assert torch.equal(one[:, 6:], later)
