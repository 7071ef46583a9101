"""Few bits, and what they miss: outliers kept apart, and a low rank of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs._ends import END_PARTS, Ends, ends_shape, joined
from engramos.activation.codecs._groups import GROUP_PARTS, Groups, check
from engramos.activation.codecs._low_rank import factors
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs.base import KEYS, Codec
from engramos.errors import ConfigError

PLACES = (torch.uint8, torch.int16, torch.int32)
"""Dtypes of places, by how many places there are."""


@dataclass(frozen=True, slots=True)
class Gear(Codec):
    """Numbers in few bits, plus a low rank of their error in each head, with the outliers as they were.

    Outliers are the greatest and the least numbers of each channel (keys) or token (values).

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    4.75 bits a value, relative error 0.169 of keys and 0.337 of values, KL divergence 0.068;
    with 4 bits 6.75, 0.033, 0.067 and 0.0018.

    Source: GEAR, https://arxiv.org/abs/2403.05527.
    Differs: the low rank is the exact one, not that of a power iteration; what is quantised has the nearest number that
        is no outlier in an outlier's place, so that it widens no group; there is no buffer, but `residual`.
    """

    bits: int = 2
    """Bits of a code: 2, 4 or 8."""
    group_size: int = 32
    """Tokens (keys) or channels (values) that share a scale and a zero; 1 or more."""
    outlier_ratio: float = 0.02
    """Share of outliers, in [0, 1): half greatest, half least, rounded to whole numbers of each channel or token."""
    rank: int = 4
    """Rank of the error of each head; 0 or more."""
    num_sinks: int = 0
    """First tokens that stay in full precision; 0 or more."""
    residual: int = 0
    """Newest tokens that stay in full precision; 0 or more. Keys of tokens that fill no group stay so too."""

    def __post_init__(self) -> None:
        check(self.bits, self.group_size)
        Ends(self.num_sinks, self.residual)
        if not 0.0 <= self.outlier_ratio < 1.0:
            raise ConfigError(f"outlier_ratio is {self.outlier_ratio}: give 0 or more, below 1")
        if self.rank < 0:
            raise ConfigError(f"rank is {self.rank}: give 0 or more")

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the parts of `int4`, outliers with their places, and two factors for each head."""
        groups = Groups(side, self.bits, self.group_size)
        middle, ends = Ends(self.num_sinks, self.residual).split(tensors, groups.unit)
        whole, within = balanced(middle)
        axis = 2 if side == KEYS else 3
        plain, places = _split(whole, axis, self.outlier_ratio)
        parts = groups.encode(plain, within)
        layers, kv_heads, _, head_dim = whole.shape
        error = within.narrowed(groups.decode(StoredParts("gear", parts, GROUP_PARTS), layers, kv_heads, head_dim))
        error = torch.sub(plain, error, out=error).scatter_(axis, places, 0.0)
        left, right = factors(error, self.rank)
        return parts | {
            "outliers": within.stored(whole.gather(axis, places)),
            "places": places.to(_places_dtype(whole.shape[axis])),
            "left": left.to(torch.float16).contiguous(),
            "right": within.stored(right),
            **ends,
        }

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("gear", parts, (*GROUP_PARTS, *END_PARTS, "outliers", "places", "left", "right"))
        layers, kv_heads, head_dim = ends_shape(stored)
        whole = Groups(side, self.bits, self.group_size).decode(stored, layers, kv_heads, head_dim)
        num_tokens = whole.shape[2]
        left = stored.whole("left", layers, kv_heads, num_tokens, None).float()
        right = stored.scales("right", layers, kv_heads, left.shape[3], head_dim, is_signed=True)
        whole.add_(left @ right)
        axis, length = (2, num_tokens) if side == KEYS else (3, head_dim)
        shape = (None, head_dim) if side == KEYS else (num_tokens, None)
        places = stored.take("places", (_places_dtype(length),), layers, kv_heads, *shape).long()
        outliers = stored.scales("outliers", *places.shape, is_signed=True)
        is_place = not places.numel() or (int(places.min()) >= 0 and int(places.max()) < length)
        stored.require(is_place, "places", f"names places that are not among {length}")
        whole.scatter_(axis, places, outliers)
        return joined(stored, whole, dtype)


def _split(whole: Tensor, axis: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Return the numbers with outliers drawn in to the nearest other number, and the outliers' places along an axis."""
    length = whole.shape[axis]
    num = min(round(ratio * length / 2), (length - 1) // 2) if length else 0
    if not num:
        return whole, torch.zeros_like(whole.narrow(axis, 0, 0), dtype=torch.int64)
    high, high_places = whole.topk(num + 1, dim=axis)
    low, low_places = whole.topk(num + 1, dim=axis, largest=False)
    places = torch.cat((high_places.narrow(axis, 0, num), low_places.narrow(axis, 0, num)), dim=axis)
    return torch.minimum(torch.maximum(whole, low.narrow(axis, num, 1)), high.narrow(axis, num, 1)), places


def _places_dtype(length: int) -> torch.dtype:
    return PLACES[0] if length <= 2**8 else PLACES[1] if length <= 2**15 else PLACES[2]
