"""Keys without the channels that matter least."""

import pytest
import torch

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.think import ThinK
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache


def kept_channels(
    codec: ThinK, given: list[torch.Tensor], queries: list[torch.Tensor] | None = None
) -> list[list[int]]:
    """Return the channels that came back, of each head of the first layer."""
    found = codec.decode(codec.encode(given, KEYS, queries=queries), KEYS, torch.float32)[0]
    return [[at for at in range(found.shape[2]) if found[head, :, at].any()] for head in range(found.shape[0])]


def test_channels_stay_by_the_norms_of_queries_times_keys() -> None:
    keys = torch.ones((2, 40, 8))
    keys[0, :, 2] = 3.0
    keys[1, :, 6] = 3.0
    queries = torch.ones((4, 5, 8))
    # the two query heads of each key head count together; alone, the keys of channel 2 and 6 would stay
    queries[1, :, 5] = 100.0
    queries[2, :, 0] = 100.0
    queries[2:, :, 6] = 0.01
    codec = ThinK(kept_ratio=0.125, residual=0)
    assert kept_channels(codec, [keys], [queries]) == [[5], [0]]
    assert kept_channels(codec, [keys]) == [[2], [6]]


def test_dropped_channels_take_no_bytes() -> None:
    given = cache(num_tokens=320)
    parts = ThinK(kept_ratio=0.5, residual=32).encode(given, KEYS)
    wanted = 32 * (0.5 * 288 + 32) / 320 + 1 / 320
    assert bits_per_value(parts, 2 * 2 * 320 * 64) == pytest.approx(wanted)


def test_channels_that_stay_are_the_very_same() -> None:
    given = cache()
    found = ThinK().decode(ThinK().encode(given, KEYS), KEYS, torch.float32)
    for one, other in zip(found, given, strict=True):
        is_same = (one == other).all(1)
        assert is_same.sum(-1).tolist() == [38, 38]
        assert torch.equal(one[:, -32:], other[:, -32:])


def test_values_stay_as_they_are() -> None:
    given = cache(dtype=torch.bfloat16)
    found = ThinK().decode(ThinK().encode(given, VALUES), VALUES, torch.bfloat16)
    assert all(torch.equal(one, other) for one, other in zip(found, given, strict=True))


@pytest.mark.parametrize(("name", "value"), [("kept_ratio", 0.0), ("kept_ratio", 1.1), ("residual", -1)])
def test_wrong_parameters_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        ThinK(**{name: value})


def test_a_mask_of_other_channels_than_there_are_is_refused() -> None:
    parts = ThinK().encode(cache(), KEYS)
    parts["channels"][1, 1, 7] ^= 128
    with pytest.raises(CorruptPayloadError, match="channels"):
        ThinK().decode(parts, KEYS, torch.float32)
