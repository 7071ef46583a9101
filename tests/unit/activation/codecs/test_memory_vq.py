"""Pieces of vectors replaced by the nearest of a few learned ones."""

import pytest
import torch

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.memory_vq import MemoryVQ
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache, relative_error


def test_pieces_that_are_few_come_back() -> None:
    random = torch.Generator().manual_seed(3)
    few = torch.randn((16, 6, 4), generator=random)
    chosen = torch.randint(0, 6, (2, 200, 16), generator=random)
    vectors = torch.stack([few[piece, chosen[..., piece]] for piece in range(16)], dim=2).flatten(2)
    # two layers and two heads of the same pieces, but for a scale and a shift of each channel
    given = [vectors, vectors * 3.0 + 1.0]
    codec = MemoryVQ(num_sinks=0, num_entries=64)
    for side in (KEYS, VALUES):
        assert relative_error(codec.decode(codec.encode(given, side), side, torch.float32), given) < 0.05


def test_steps_of_k_means_bring_entries_nearer() -> None:
    given = cache(2, 2, 400)
    errors = []
    for steps in (0, 1, 8):
        codec = MemoryVQ(num_iterations=steps, num_entries=32)
        errors.append(relative_error(codec.decode(codec.encode(given, KEYS), KEYS, torch.float32), given))
    assert errors == sorted(errors, reverse=True)


def test_the_bits_are_those_of_codes_codebooks_and_two_numbers_for_each_channel() -> None:
    parts = MemoryVQ(num_sinks=0).encode(cache(4, 2, 500), KEYS)
    num_vectors = 4 * 2 * 500
    wanted = (8 * 16 * num_vectors + 16 * 256 * 64 + 2 * 16 * 4 * 2 * 64) / (num_vectors * 64)
    assert bits_per_value(parts, num_vectors * 64) == pytest.approx(wanted)
    assert MemoryVQ().group == 4


def test_sink_tokens_stay_as_they_are() -> None:
    given = cache()
    found = MemoryVQ(num_sinks=3).decode(MemoryVQ(num_sinks=3).encode(given, KEYS), KEYS, torch.float32)
    assert all(torch.equal(one[:, :3], other[:, :3]) for one, other in zip(found, given, strict=True))


def test_a_code_that_no_entry_has_is_refused() -> None:
    codec = MemoryVQ(num_entries=10)
    parts = codec.encode(cache(), KEYS)
    parts["codes"][0, 0, 5, 3] = 10
    with pytest.raises(CorruptPayloadError, match="codes"):
        codec.decode(parts, KEYS, torch.float32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("piece_size", 0),
        ("num_entries", 0),
        ("num_entries", 257),
        ("num_sinks", -1),
        ("num_layers", 0),
        ("num_iterations", -1),
        ("num_samples", 0),
    ],
)
def test_wrong_parameters_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        MemoryVQ(**{name: value})
