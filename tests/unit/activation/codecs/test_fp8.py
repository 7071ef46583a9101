"""Eight bits with a floating point and one scale for each token and head."""

import pytest
import torch

from engramos.activation.codecs.base import KEYS, bits_per_value
from engramos.activation.codecs.fp8 import Fp8
from engramos.errors import CorruptPayloadError
from engramos.testing.codecs import cache


def test_it_takes_eight_bits_and_half_a_number_for_each_token() -> None:
    assert bits_per_value(Fp8().encode(cache(), KEYS), 2 * 2 * 70 * 64) == 8.25


def test_small_numbers_keep_their_relative_precision_beside_a_great_one() -> None:
    given = [torch.full((1, 1, 64), 0.01)]
    given[0][0, 0, 0] = 1.0
    found = Fp8().decode(Fp8().encode(given, KEYS), KEYS, torch.float32)[0]
    assert found[0, 0, 1:] == pytest.approx(0.01, rel=1 / 16)
    assert found[0, 0, 0] == pytest.approx(1.0, rel=1e-3)


def test_bytes_that_stand_for_no_number_are_refused() -> None:
    parts = Fp8().encode(cache(), KEYS)
    parts["codes"][1, 1, 5, 9] = 0x7F
    with pytest.raises(CorruptPayloadError, match="not finite"):
        Fp8().decode(parts, KEYS, torch.float32)
