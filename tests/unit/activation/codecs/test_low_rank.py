"""Codecs of low rank: one layer, several layers, and keys alone."""

import pytest
import torch
from torch import Tensor

from engramos.activation.codecs._low_rank import factors
from engramos.activation.codecs.base import KEYS, VALUES, Codec, bits_per_value
from engramos.activation.codecs.cskv import CSKV
from engramos.activation.codecs.shadowkv import ShadowKV
from engramos.activation.codecs.xkv import XKV
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache, relative_error


def back(codec: Codec, given: list[Tensor], side: str) -> list[Tensor]:
    return codec.decode(codec.encode(given, side), side, torch.float32)


def of_rank(rank: int, num_layers: int, is_shared: bool, num_tokens: int = 100) -> list[Tensor]:
    """Return layers of 2 heads of 32 channels that are made of few numbers for each token."""
    random = torch.Generator().manual_seed(rank)
    layers = []
    few = torch.randn((num_tokens, rank), generator=random)
    for _ in range(num_layers):
        if not is_shared:
            few = torch.randn((num_tokens, rank), generator=random)
        layers.append((few @ torch.randn((rank, 64), generator=random)).view(num_tokens, 2, 32).transpose(0, 1))
    return [one.contiguous() for one in layers]


@pytest.mark.parametrize(("rows", "columns"), [(50, 20), (20, 50), (30, 30), (1, 5), (5, 1)])
def test_factors_are_those_of_the_singular_value_decomposition(rows: int, columns: int) -> None:
    matrix = torch.randn((rows, columns), generator=torch.Generator().manual_seed(1))
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    for rank in (0, 1, 4, 100):
        left, right = factors(matrix, rank)
        wanted = (u[:, :rank] * s[:rank]) @ v[:rank]
        assert left.shape[1] == right.shape[0] == min(rank, rows, columns)
        assert ((left @ right).double() - wanted).abs().max() < 1e-4


def test_a_layer_of_low_rank_comes_back_and_one_of_a_higher_rank_does_not() -> None:
    codec = CSKV(rank_ratio=0.25, residual=0, num_sinks=0)
    for side in (KEYS, VALUES):
        assert relative_error(back(codec, of_rank(16, 3, False), side), of_rank(16, 3, False)) < 2e-3
        assert relative_error(back(codec, of_rank(40, 3, False), side), of_rank(40, 3, False)) > 0.2


def test_layers_of_one_basis_need_its_rank_once() -> None:
    shared, apart = of_rank(16, 4, True), of_rank(16, 4, False)
    codec = XKV(key_rank_ratio=16 / 256, value_rank_ratio=16 / 256, num_sinks=0)
    assert codec.group == 4
    for side in (KEYS, VALUES):
        assert relative_error(back(codec, shared, side), shared) < 2e-3
        assert relative_error(back(codec, apart, side), apart) > 0.5


def test_keys_and_values_have_ranks_of_their_own() -> None:
    codec = XKV(key_rank_ratio=0.125, value_rank_ratio=0.25)
    given = cache(4, 2, 100, 32)
    assert codec.encode(given, KEYS)["left"].shape == (1, 96, 32)
    assert codec.encode(given, VALUES)["left"].shape == (1, 96, 64)


@pytest.mark.parametrize("codec", [CSKV(rank_ratio=0.1, residual=8), XKV(key_rank_ratio=0.1, residual=8)])
def test_the_first_tokens_and_the_newest_stay_as_they_are(codec: Codec) -> None:
    given = cache()
    for one, other in zip(back(codec, given, KEYS), given, strict=True):
        assert torch.equal(one[:, -8:], other[:, -8:])
        assert torch.equal(one[:, :4], other[:, :4])
        assert not torch.equal(one[:, 4:-8], other[:, 4:-8])


def test_the_bits_are_those_of_both_factors_and_of_what_is_whole() -> None:
    parts = CSKV(rank_ratio=0.5, residual=32, num_sinks=4).encode(cache(2, 2, 1024, 64), KEYS)
    wanted = (16 * 64 * (988 + 128) + 32 * 36 * 128) / (1024 * 128)
    assert bits_per_value(parts, 2 * 2 * 1024 * 64) == pytest.approx(wanted)


def test_odd_chunks_of_keys_stay_as_they_are() -> None:
    given = of_rank(4, 1, False, 80)
    # a direction of its own in one token of each of two chunks: not of the rank, and far from its chunk's mean
    random = torch.Generator().manual_seed(9)
    for head, token in ((0, 3), (1, 50)):
        given[0][head, token] = torch.randn(32, generator=random) * 40
    smooth = given[0].unflatten(1, (10, 8))
    smooth[0, 1:] = smooth[0, 1:].mean(1, keepdim=True)
    smooth[1, :6] = smooth[1, :6].mean(1, keepdim=True)
    smooth[1, 7:] = smooth[1, 7:].mean(1, keepdim=True)
    found = back(ShadowKV(rank_ratio=0.1, outlier_ratio=0.1), given, KEYS)[0]
    assert torch.equal(found[0, :8], given[0][0, :8])
    assert torch.equal(found[1, 48:56], given[0][1, 48:56])
    assert not torch.equal(found[0, 8:16], given[0][0, 8:16])


def test_newest_keys_that_fill_no_chunk_stay_as_they_are() -> None:
    given = cache(num_tokens=70)
    found = back(ShadowKV(rank_ratio=0.1), given, KEYS)
    assert all(torch.equal(one[:, 64:], other[:, 64:]) for one, other in zip(found, given, strict=True))


def test_values_are_whole_or_in_eight_bits() -> None:
    given = cache()
    assert bits_per_value(ShadowKV().encode(given, VALUES), 2 * 2 * 70 * 64) == 8.25
    found = back(ShadowKV(values="full"), given, VALUES)
    assert all(torch.equal(one, other) for one, other in zip(found, given, strict=True))


def test_keys_must_be_turned_back_before() -> None:
    assert CSKV.before_rope
    assert XKV.before_rope
    assert ShadowKV.before_rope


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        (CSKV, "rank_ratio", 0.0),
        (CSKV, "residual", -1),
        (CSKV, "num_sinks", -1),
        (XKV, "num_layers", 0),
        (XKV, "key_rank_ratio", 1.5),
        (XKV, "value_rank_ratio", -1.0),
        (XKV, "residual", -1),
        (ShadowKV, "rank_ratio", 2.0),
        (ShadowKV, "chunk_size", 0),
        (ShadowKV, "outlier_ratio", -0.1),
        (ShadowKV, "values", "int4"),
    ],
)
def test_wrong_parameters_are_refused_by_name(method: type[Codec], name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        method(**{name: value})


def test_factors_that_would_fill_the_memory_are_refused() -> None:
    whole = torch.zeros((1, 1, 0, 4096))
    wide = {"left": torch.ones((1, 1_000_000, 1)), "right": torch.ones((1, 1, 1, 4096))}
    with pytest.raises(CorruptPayloadError, match="has the shape"):
        CSKV().decode({**wide, "first": whole, "newest": whole[..., :64]}, KEYS, torch.float32)
    many = {"left": torch.ones((1, 100_000, 1)).half(), "right": torch.ones((1, 1, 300, 4096)).half()}
    whole = torch.zeros((100, 3, 0, 4096))
    with pytest.raises(CorruptPayloadError, match="would become"):
        XKV().decode({**many, "first": whole, "newest": whole}, KEYS, torch.float32)
