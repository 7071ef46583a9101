"""Codecs over random caches: errors within the bounds that they state, packing, and parts that lie."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engramos.activation.codecs import ROLE
from engramos.activation.codecs._packing import BITS, pack, packed_length, unpack
from engramos.activation.codecs.base import DTYPES, KEYS, VALUES
from engramos.errors import CorruptPayloadError

torch.set_num_threads(1)
KINDS = ("normal", "constant", "outlier channel", "outlier token", "zeros in it", "sparse")
SIDES = st.sampled_from([KEYS, VALUES])
FEW = settings(max_examples=40, deadline=None)


@st.composite
def caches(draw: st.DrawFn) -> list[Tensor]:
    """Draw keys or values: of any common width, number of tokens and layers, dtype and magnitude."""
    num_layers, kv_heads = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    num_tokens = draw(st.sampled_from([0, 1, 2, 31, 32, 33, 64]) | st.integers(0, 70))
    head_dim = draw(st.sampled_from([32, 64, 96, 128, 256]))
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    power = draw(st.integers(-4, 4) if dtype == torch.float16 else st.integers(-30, 30))
    kind = draw(st.sampled_from(KINDS))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    made = torch.randn((num_layers, kv_heads, num_tokens, head_dim), generator=random).clamp(-6, 6)
    if kind == "constant":
        made = made[..., :1, :1].expand(made.shape).clone() if num_tokens else made
    if kind == "outlier channel":
        made[..., 3] *= 1000.0 if power < 4 else 10.0
    if kind == "outlier token":
        made[:, :, num_tokens // 2 :][:, :, :1] *= 500.0 if power < 4 else 10.0
    if kind == "zeros in it":
        made[0] = 0.0
    if kind == "sparse":
        made *= torch.rand(made.shape, generator=random) < 0.05
    return list(
        (made.double() * 10.0**power).clamp(-6e4 if power <= 4 else -1e38, 6e4 if power <= 4 else 1e38).to(dtype)
    )


def there_and_back(name: str, given_cache: list[Tensor], side: str, **parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what was encoded and what was decoded, in float64: (layers, kv_heads, tokens, head_dim)."""
    codec = ROLE.make(name, **parameters)
    found = codec.decode(codec.encode(given_cache, side), side, torch.float32)
    return torch.stack(given_cache).double().numpy(), torch.stack(found).double().numpy()


def floor(x: np.ndarray) -> float:
    """Return the step of half precision below its normal numbers, where scales are kept in it."""
    peak = float(np.abs(x).max()) if x.size else 0.0
    return 2.0**-24 * min(1.0, peak * 64) + peak * 1e-6


def group_bounds(x: np.ndarray, side: str, bits: int, group: int) -> np.ndarray:
    """Return half a step of each number's group, where each group has 2 ** bits steps, outwards rounding included."""
    bounds = np.zeros_like(x)
    axis = 2 if side == KEYS else 3
    for at in range(0, x.shape[axis], group):
        part = np.take(x, range(at, min(at + group, x.shape[axis])), axis=axis)
        low, high = part.min(axis, keepdims=True), part.max(axis, keepdims=True)
        step = (high - low + np.abs(low) * 2.0**-10) / (2**bits - 1) * (1 + 2.0**-9)
        place = [slice(None)] * 4
        place[axis] = slice(at, at + group)
        bounds[tuple(place)] = step / 2 + floor(x)
    return bounds


def length(x: np.ndarray) -> float:
    """Return the euclidean length of all numbers, without overflow."""
    peak = float(np.abs(x).max()) if x.size else 0.0
    return peak * float(np.linalg.norm(x / peak)) if peak else 0.0


@FEW
@given(caches(), SIDES)
def test_int8_is_within_half_a_step_of_the_tokens_greatest(x: list[Tensor], side: str) -> None:
    wanted, found = there_and_back("int8", x, side)
    steps = np.abs(wanted).max(-1, keepdims=True) / 127 if wanted.size else 0.0
    assert (np.abs(found - wanted) <= steps * (0.5 + 2.0**-10) + floor(wanted)).all()


@FEW
@given(caches(), SIDES)
def test_fp8_is_within_a_sixteenth_or_the_least_step(x: list[Tensor], side: str) -> None:
    wanted, found = there_and_back("fp8", x, side)
    steps = np.abs(wanted).max(-1, keepdims=True) / 448 if wanted.size else 0.0
    assert (np.abs(found - wanted) <= np.abs(wanted) / 16 * 1.001 + steps * 2.0**-9 + floor(wanted)).all()


@FEW
@given(caches(), SIDES, st.sampled_from([2, 4, 8]), st.sampled_from([8, 32]), st.integers(0, 40))
def test_int4_is_within_half_a_step_of_its_group(x: list[Tensor], side: str, bits: int, group: int, new: int) -> None:
    wanted, found = there_and_back("int4", x, side, bits=bits, group_size=group, residual=new)
    cut = max(0, wanted.shape[2] - new)
    cut -= cut % group if side == KEYS else 0
    assert (found[:, :, cut:] == wanted[:, :, cut:]).all()
    bounds = group_bounds(wanted[:, :, :cut], side, bits, group)
    assert (np.abs(found - wanted)[:, :, :cut] <= bounds).all()


@FEW
@given(caches(), SIDES, st.sampled_from([2, 3, 4]), st.floats(0, 1))
def test_mikv_is_within_the_bound_of_its_low_precision(x: list[Tensor], side: str, bits: int, ratio: float) -> None:
    wanted, found = there_and_back("mikv", x, side, low_bits=bits, important_ratio=ratio)
    peaks = np.abs(wanted).max(-1, keepdims=True) if wanted.size else 0.0
    error = np.abs(found - wanted)
    is_near = error <= peaks / 127 * (0.5 + 2.0**-10) + floor(wanted)
    assert (is_near | (error <= group_bounds(wanted, VALUES, bits, 32))).all()
    assert (is_near.all(-1).sum(-1) >= math.ceil(ratio * wanted.shape[2] - 1e-6)).all()


@FEW
@given(caches(), SIDES, st.integers(0, 6), st.floats(0, 0.3))
def test_gear_is_no_farther_than_its_few_bits_alone(x: list[Tensor], side: str, rank: int, ratio: float) -> None:
    wanted, found = there_and_back("gear", x, side, rank=rank, outlier_ratio=ratio, bits=4)
    cut = wanted.shape[2] // 32 * 32 if side == KEYS else wanted.shape[2]
    bounds = group_bounds(wanted[:, :, :cut], side, 4, 32)
    assert length(found - wanted) <= length(bounds) * 1.01 + length(wanted) * 2.0**-10


@FEW
@given(caches(), SIDES, st.sampled_from([2, 3, 4]), st.integers(0, 3))
def test_rotated_never_makes_a_vector_longer_nor_loses_it(x: list[Tensor], side: str, bits: int, seed: int) -> None:
    wanted, found = there_and_back("rotated", x, side, bits=bits, seed=seed)
    most = {2: 0.8, 3: 0.7, 4: 0.6}[bits]
    for one, other in zip(wanted.reshape(-1, wanted.shape[3]), found.reshape(-1, wanted.shape[3]), strict=True):
        assert length(other - one) <= most * length(one) + 32 * floor(wanted)
        assert length(other) <= length(one) * 1.001 + 32 * floor(wanted)


@FEW
@given(caches(), st.floats(0.05, 1.0), st.integers(0, 40))
def test_think_keeps_a_channel_or_makes_it_zero(x: list[Tensor], ratio: float, new: int) -> None:
    wanted, found = there_and_back("think", x, KEYS, kept_ratio=ratio, residual=new)
    cut = max(0, wanted.shape[2] - new)
    assert (found[:, :, cut:] == wanted[:, :, cut:]).all()
    is_kept = (found == wanted)[:, :, :cut].all(2)
    assert (is_kept | (found[:, :, :cut] == 0).all(2)).all()
    assert (is_kept.sum(-1) >= max(1, round(ratio * wanted.shape[3]))).all()


@settings(max_examples=30, deadline=None)
@given(caches(), SIDES, st.floats(0.05, 1.0), st.sampled_from(["cskv", "xkv"]))
def test_low_ranks_are_the_best_of_their_rank(x: list[Tensor], side: str, ratio: float, name: str) -> None:
    ratios = {"rank_ratio": ratio} if name == "cskv" else {"key_rank_ratio": ratio, "value_rank_ratio": ratio}
    wanted, found = there_and_back(name, x, side, residual=0, num_sinks=0, **ratios)
    if not wanted.size:
        return
    peak = max(float(np.abs(wanted).max()), 1e-300)
    sets = [layer[None] for layer in wanted] if name == "cskv" else [wanted]
    best = 0.0
    for one in sets:
        matrix = (one / peak).transpose(2, 0, 1, 3).reshape(one.shape[2], -1)
        rank = max(1, round(ratio * matrix.shape[1]))
        best += float((np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2).sum())
    error = length(found - wanted) / peak
    assert error <= math.sqrt(best) * 1.01 + length(wanted) / peak * 4e-3


@settings(max_examples=30, deadline=None)
@given(caches(), SIDES)
def test_memory_vq_is_no_farther_than_the_mean_of_each_channel(x: list[Tensor], side: str) -> None:
    wanted, found = there_and_back("memory_vq", x, side, num_iterations=2)
    later = wanted[:, :, 4:]
    if later.size:
        apart = later - later.mean(2, keepdims=True)
        assert length(found - wanted) <= length(apart) * 1.01 + length(wanted) * 2.0**-9


@FEW
@given(
    st.sampled_from(BITS),
    st.lists(st.integers(0, 3), min_size=0, max_size=3),
    st.integers(0, 70),
    st.integers(0, 2**32),
)
def test_what_is_packed_comes_out_the_same(bits: int, shape: list[int], num: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 2**bits, (*shape, num), generator=random, dtype=torch.uint8)
    packed = pack(numbers, bits)
    assert packed.dtype == torch.uint8
    assert packed.is_contiguous()
    assert packed.shape == (*shape, packed_length(num, bits))
    assert packed_length(num, bits) <= math.ceil(num * bits / 8) + (2 if bits == 3 else 0)
    assert torch.equal(unpack(packed, bits, num), numbers)


def lie(draw: st.DrawFn, part: Tensor) -> Tensor:
    """Draw another part: of another dtype, shape, or content."""
    how = draw(st.sampled_from(["bytes", "dtype", "cut", "grow", "turn", "empty", "huge", "fill"]))
    axis = draw(st.integers(0, max(0, part.dim() - 1)))
    if how == "bytes" and part.numel():
        random = np.random.default_rng(draw(st.integers(0, 2**32)))
        raw = part.contiguous().view(torch.uint8).clone().flatten()
        for at in random.integers(0, raw.numel(), draw(st.integers(1, 64))):
            raw[at] = int(random.integers(0, 256))
        return raw.view(part.dtype).view(part.shape)
    if how == "dtype":
        return part.to(draw(st.sampled_from([torch.float64, torch.int64, torch.int8, torch.float16, torch.bool])))
    if how == "cut":
        return part.narrow(axis, 0, draw(st.integers(0, part.shape[axis])))
    if how == "grow":
        return torch.cat((part, part), dim=axis)
    if how == "turn":
        return part.transpose(0, -1)
    if how == "empty":
        return torch.zeros((0, *part.shape[1:]), dtype=part.dtype)
    if how == "huge":
        # takes no bytes, and yet says that there is more than any memory holds
        shape = [*part.shape]
        shape[axis] = 2 ** draw(st.integers(16, 24))
        shape[(axis + 1) % part.dim()] = 0
        return torch.zeros(shape, dtype=part.dtype)
    return torch.full_like(part, draw(st.sampled_from([0, 1, 100])))


@lru_cache(maxsize=64)
def true_parts(name: str, side: str) -> dict[str, Tensor]:
    """Return the parts of a small cache."""
    random = torch.Generator().manual_seed(5)
    return ROLE.make(name).encode([torch.randn((2, 70, 32), generator=random) for _ in range(2)], side)


@pytest.mark.parametrize("name", [name for name in ROLE.names() if name != "full"])
@settings(max_examples=50, deadline=None)
@given(data=st.data(), side=SIDES)
def test_parts_that_lie_are_refused_or_make_a_cache_of_numbers(name: str, data: st.DataObject, side: str) -> None:
    parts = true_parts(name, side)
    changed = dict(parts)
    for key in data.draw(st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=3)):
        changed[key] = lie(data.draw, changed[key])
    dtype = data.draw(st.sampled_from(list(DTYPES.values())))
    try:
        found = ROLE.make(name).decode(changed, side, dtype)
    except CorruptPayloadError:
        return
    assert len({one.shape for one in found}) <= 1
    for one in found:
        assert one.dim() == 3
        assert one.dtype == dtype
        assert one.numel() <= 100 * 70 * 32
        assert torch.isfinite(one).all()
