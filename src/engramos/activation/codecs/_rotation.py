"""A rotation that spreads each vector over all channels, and the best codes for what comes of it."""

import hashlib
import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def rotation(width: int, seed: int) -> Tensor:
    """Return an orthogonal matrix with random signs: (width, width) float32.

    It is Hadamard's where `width` is a power of two, and else its product with the cosine transform of the odd factor.
    Signs come from SHA-256 of the seed, for a cache that is stored must be readable by any release of any library.

    Args:
        width: 1 or more.
        seed: any whole number.
    """
    odd = width
    while odd % 2 == 0:
        odd //= 2
    row, column = torch.arange(odd, dtype=torch.float64)[:, None], torch.arange(odd, dtype=torch.float64)[None]
    matrix = torch.cos(math.pi * row * (column + 0.5) / odd) * math.sqrt(2.0 / odd)
    matrix[0] /= math.sqrt(2.0)
    butterfly = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / math.sqrt(2.0)
    while matrix.shape[0] < width:
        matrix = torch.kron(butterfly, matrix)
    return (_signs(width, seed)[:, None] * matrix).float()


def _signs(num: int, seed: int) -> Tensor:
    """Return random signs, the same everywhere: (num,) float64."""
    blocks = b"".join(hashlib.sha256(f"engramos {seed} {at}".encode()).digest() for at in range(num // 256 + 1))
    return torch.tensor([1.0 - 2.0 * ((blocks[at // 8] >> (at % 8)) & 1) for at in range(num)], dtype=torch.float64)


@lru_cache(maxsize=8)
def codebook(bits: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the numbers that stand for the standard normal distribution with the least squared error.

    Source: Lloyd, Least squares quantization in PCM, 1982; Max, Quantizing for minimum distortion, 1960.

    Args:
        bits: 1 to 4.

    Returns:
        2 ** bits centres, rising, and the 2 ** bits - 1 bounds between them.
    """
    num = 1 << bits
    centres = [2.0 * (2 * at + 1 - num) / num for at in range(num)]
    change = 1.0
    while change > 1e-10:
        bounds = [-math.inf, *_middles(centres), math.inf]
        moved = [_mean_between(low, high) for low, high in itertools.pairwise(bounds)]
        change = max(abs(old - new) for old, new in zip(centres, moved, strict=True))
        centres = moved
    return tuple(centres), tuple(_middles(centres))


def _middles(centres: list[float]) -> list[float]:
    return [(low + high) / 2 for low, high in itertools.pairwise(centres)]


def _mean_between(low: float, high: float) -> float:
    """Return the mean of a standard normal number that lies between two bounds."""
    share = (math.erf(high / math.sqrt(2.0)) - math.erf(low / math.sqrt(2.0))) / 2.0
    heights = math.exp(-low * low / 2.0) - math.exp(-high * high / 2.0)
    return heights / math.sqrt(2.0 * math.pi) / share
