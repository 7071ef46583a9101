"""What every codec must keep to: run `check_codec` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.activation.codecs.int8 import Int8
    >>> check_codec(Int8())
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from engramos.activation.codecs.base import DTYPES, KEYS, VALUES, Codec
from engramos.errors import CorruptPayloadError

STORABLE = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)
"""Dtypes of parts."""
SIDES = (KEYS, VALUES)
LAYERS, KV_HEADS, TOKENS, HEAD_DIM = 2, 2, 70, 64
"""The usual shape; its tokens fill no round number."""

Check = Callable[[Codec], None]


def check_codec(codec: Codec) -> None:
    """Run every check over a codec."""
    for check in CHECKS:
        check(codec)


def cache(
    num_layers: int = LAYERS,
    kv_heads: int = KV_HEADS,
    num_tokens: int = TOKENS,
    head_dim: int = HEAD_DIM,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> list[Tensor]:
    """Return keys or values like those of models: tokens alike, some channels greater: (kv_heads, tokens, head_dim)."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(num_layers):
        few = torch.randn((kv_heads, num_tokens, 4), generator=random)
        many = few @ torch.randn((kv_heads, 4, head_dim), generator=random)
        noise = torch.randn((kv_heads, num_tokens, head_dim), generator=random)
        sizes = torch.rand((kv_heads, 1, head_dim), generator=random) + 0.5
        made.append(((many + noise) * sizes).to(dtype))
    return made


def relative_error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the length of the difference over the length of what was wanted, in float64."""
    one, other = torch.stack(found).double(), torch.stack(wanted).double()
    return float((one - other).norm() / other.norm())


def check_shapes_and_dtypes_come_back(codec: Codec) -> None:
    """Decoding gives as many layers as were encoded, in their shape and the dtype that was asked for."""
    for side in SIDES:
        for dtype in DTYPES.values():
            given = cache(dtype=dtype)
            parts = codec.encode(given, side)
            for wanted in DTYPES.values():
                found = codec.decode(parts, side, wanted)
                assert [one.shape for one in found] == [one.shape for one in given], side
                assert all(one.dtype == wanted for one in found), side


def check_any_size_comes_back(codec: Codec) -> None:
    """No tokens, one token, one head, and all common widths of heads are encoded and decoded."""
    for kv_heads, num_tokens, head_dim in ((2, 0, 64), (1, 1, 64), (3, 33, 32), (1, 40, 96), (2, 9, 128), (1, 64, 80)):
        for num_layers in range(1, codec.group + 2):
            given = cache(num_layers, kv_heads, num_tokens, head_dim)
            for side in SIDES:
                found = codec.decode(codec.encode(given, side), side, torch.float32)
                assert [one.shape for one in found] == [one.shape for one in given], (kv_heads, num_tokens, head_dim)
                assert all(bool(torch.isfinite(one).all()) for one in found), (kv_heads, num_tokens, head_dim)


def check_what_comes_back_is_near(codec: Codec) -> None:
    """What is decoded is nearer to what was encoded than nothing is; the very same where the codec is exact."""
    given = cache(num_tokens=128)
    for side in SIDES:
        found = codec.decode(codec.encode(given, side), side, torch.float32)
        if codec.is_exact:
            assert all(torch.equal(one, other) for one, other in zip(found, given, strict=True)), side
        else:
            assert relative_error(found, given) < 0.7, side


def check_parts_can_be_stored(codec: Codec) -> None:
    """Parts are contiguous tensors of common dtypes, own their memory, and hold nothing of what was given."""
    given = cache()
    addresses = {one.untyped_storage().data_ptr() for one in given}
    for side in SIDES:
        for name, part in codec.encode(given, side).items():
            assert part.dtype in STORABLE, name
            assert part.is_contiguous(), name
            assert not part.requires_grad, name
            assert not part.numel() or part.untyped_storage().data_ptr() not in addresses, name


def check_what_is_given_stays_as_it_was(codec: Codec) -> None:
    """Neither encoding changes the tensors, nor decoding the parts."""
    given, importance, queries = cache(), *_hints()
    before = [one.clone() for one in [*given, *importance, *queries]]
    for side in SIDES:
        parts = codec.encode(given, side, importance=importance, queries=queries)
        copies = {name: part.clone() for name, part in parts.items()}
        codec.decode(parts, side, torch.float32)
        assert all(torch.equal(parts[name], copies[name]) for name in parts), side
    assert all(torch.equal(one, other) for one, other in zip(before, [*given, *importance, *queries], strict=True))


def check_the_same_comes_twice(codec: Codec) -> None:
    """Equal tensors become equal parts, and equal parts equal tensors."""
    for side in SIDES:
        first, second = codec.encode(cache(), side), codec.encode(cache(), side)
        assert first.keys() == second.keys(), side
        assert all(torch.equal(first[name], second[name]) for name in first), side
        back, again = (codec.decode(parts, side, torch.float32) for parts in (first, second))
        assert all(torch.equal(one, other) for one, other in zip(back, again, strict=True)), side


def check_hints_may_be_given_or_not(codec: Codec) -> None:
    """Importance and queries may be given, each alone, both or neither; shapes come back in each case."""
    importance, queries = _hints()
    given = cache()
    for side in SIDES:
        for one in (None, importance):
            for other in (None, queries):
                parts = codec.encode(given, side, importance=one, queries=other)
                found = codec.decode(parts, side, torch.float32)
                assert [layer.shape for layer in found] == [layer.shape for layer in given], side


def check_constant_tensors_come_back_finite(codec: Codec) -> None:
    """Tensors of one number, zero among them, make neither NaN nor infinity, and come back near to it."""
    for number in (0.0, 1.0, -3.5, 1e-6, 1000.0):
        given = [torch.full((KV_HEADS, 33, HEAD_DIM), number) for _ in range(LAYERS)]
        for side in SIDES:
            found = codec.decode(codec.encode(given, side), side, torch.float32)
            assert all(bool(torch.isfinite(one).all()) for one in found), (side, number)
            highest = max(float(one.abs().max()) for one in found)
            assert highest <= 1.5 * abs(number), (side, number)


def check_lies_are_refused(codec: Codec) -> None:
    """Parts that are missing, unknown, of another dtype or of other axes are a `CorruptPayloadError`."""
    for side in SIDES:
        parts = codec.encode(cache(), side)
        for lie, changed in _lies(parts):
            try:
                codec.decode(changed, side, torch.float32)
            except CorruptPayloadError:
                continue
            raise AssertionError(f"{side}: {lie} was believed")


def _hints() -> tuple[list[Tensor], list[Tensor]]:
    """Return importance and queries for the usual shape."""
    random = torch.Generator().manual_seed(1)
    importance = [torch.rand((KV_HEADS, TOKENS), generator=random) for _ in range(LAYERS)]
    queries = [torch.randn((3 * KV_HEADS, 5, HEAD_DIM), generator=random) for _ in range(LAYERS)]
    return importance, queries


def _lies(parts: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield parts that cannot be true, each with what is wrong."""
    yield "no part at all", {}
    yield "an unknown part", {**parts, "unknown": torch.zeros(1)}
    for name, part in parts.items():
        others = {key: value for key, value in parts.items() if key != name}
        yield f"{name} missing", others
        yield f"{name} as complex numbers", {**others, name: part.to(torch.complex64)}
        yield f"{name} as bool", {**others, name: part.bool()}
        yield f"{name} with an axis more", {**others, name: part.unsqueeze(0)}
        yield f"{name} flat", {**others, name: part.flatten()}


CHECKS: tuple[Check, ...] = (
    check_shapes_and_dtypes_come_back,
    check_any_size_comes_back,
    check_what_comes_back_is_near,
    check_parts_can_be_stored,
    check_what_is_given_stays_as_it_was,
    check_the_same_comes_twice,
    check_hints_may_be_given_or_not,
    check_constant_tensors_come_back_finite,
    check_lies_are_refused,
)
"""All promises."""
__all__ = ["CHECKS", "cache", "check_codec", "relative_error"]
