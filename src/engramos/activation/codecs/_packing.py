"""Small numbers packed into bytes.

The last axis is cut into as many equal runs as a word has numbers, and a word takes one number of each run, so that
packing is a few operations on whole runs. 1, 2, 4 and 8 bits have words of one byte; 3 bits have words of eight numbers
in three bytes, the bytes too in runs.

Source: ours.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

BITS = (1, 2, 3, 4, 8)
"""How many bits a packed number may have."""


def numbers_in_word(bits: int) -> int:
    """Return how many numbers one word holds."""
    return 8 if bits == 3 else 8 // bits


def packed_length(num: int, bits: int) -> int:
    """Return the bytes that `num` numbers take, the last word filled up."""
    return -(-num // numbers_in_word(bits)) * (3 if bits == 3 else 1)


def pack(numbers: Tensor, bits: int) -> Tensor:
    """Return the numbers packed along the last axis.

    Args:
        numbers: (..., n) uint8, each below 2 ** bits.
        bits: one of `BITS`.

    Returns:
        (..., packed_length(n, bits)) uint8.
    """
    per_word = numbers_in_word(bits)
    missing = -numbers.shape[-1] % per_word
    runs = (pad(numbers, (0, missing)) if missing else numbers).chunk(per_word, dim=-1)
    if numbers.shape[-1] == 0 or bits == 8:
        return numbers.contiguous()
    if bits == 3:
        return torch.cat(_three_bytes(runs), dim=-1)
    packed = runs[0].clone()
    for at, run in enumerate(runs[1:], start=1):
        packed |= run << (at * bits)
    return packed


def unpack(packed: Tensor, bits: int, num: int) -> Tensor:
    """Return the `num` numbers that were packed.

    Args:
        packed: (..., packed_length(num, bits)) uint8.
        bits: one of `BITS`.
        num: numbers along the last axis.

    Returns:
        (..., num) uint8.
    """
    if num == 0 or bits == 8:
        return packed
    if bits == 3:
        return torch.cat(_eight_numbers(*packed.chunk(3, dim=-1)), dim=-1)[..., :num]
    mask = (1 << bits) - 1
    return torch.cat([(packed >> (at * bits)) & mask for at in range(8 // bits)], dim=-1)[..., :num]


def _three_bytes(runs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    a, b, c, d, e, f, g, h = runs
    return a | (b << 3) | (c << 6), (c >> 2) | (d << 1) | (e << 4) | (f << 7), (f >> 1) | (g << 2) | (h << 5)


def _eight_numbers(first: Tensor, second: Tensor, third: Tensor) -> list[Tensor]:
    whole = [
        first,
        first >> 3,
        (first >> 6) | (second << 2),
        second >> 1,
        second >> 4,
        (second >> 7) | (third << 1),
        third >> 2,
        third >> 5,
    ]
    return [one & 7 for one in whole]
