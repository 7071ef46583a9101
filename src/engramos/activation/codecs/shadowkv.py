"""Keys in low rank but for odd ones, values whole or in eight bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs._low_rank import check_ratio, joint_factors, joint_product
from engramos.activation.codecs._packing import pack
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced, unchanged
from engramos.activation.codecs.base import KEYS, Codec
from engramos.activation.codecs.int8 import Int8
from engramos.errors import ConfigError

PARTS = ("left", "right", "outliers", "places", "newest")


@dataclass(frozen=True, slots=True)
class ShadowKV(Codec):
    """Keys before their rotation are of low rank; chunks whose keys point apart stay as they are.

    A chunk is odd if a key in it is far, by the angle, from the mean of the chunk, as those of sink tokens are.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    9.6 bits a value, relative error 0.075 of keys and 0.007 of values, KL divergence 0.0022.

    Source: ShadowKV, https://arxiv.org/abs/2410.21465.
    Differs: the rank is a share of a layer's channels (the paper's 160 of 1,024 are 0.156) and the odd chunks are a
        share of all; they are found before the rotation; which chunks are read is for recall methods to say.
    """

    rank_ratio: float = 0.5
    """Rank of keys as a share of a layer's channels of all heads, in (0, 1]."""
    chunk_size: int = 8
    """Tokens of a chunk; 1 or more. Newest tokens that fill no chunk stay in full precision."""
    outlier_ratio: float = 0.05
    """Share of chunks that stay in full precision, in each head, in [0, 1]; rounded."""
    values: str = "int8"
    """How values are stored: `int8`, or `full` for as they are."""
    before_rope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ratio("rank_ratio", self.rank_ratio)
        if self.chunk_size < 1:
            raise ConfigError(f"chunk_size is {self.chunk_size}: give 1 or more")
        if not 0.0 <= self.outlier_ratio <= 1.0:
            raise ConfigError(f"outlier_ratio is {self.outlier_ratio}: give a number from 0 to 1")
        if self.values not in ("int8", "full"):
            raise ConfigError(f"values is {self.values!r}: use int8 or full")

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return values whole or as `int8` does; of keys two factors, odd chunks, a mask of them, and newest tokens."""
        if side != KEYS:
            return Int8().encode(tensors, side) if self.values == "int8" else {"full": unchanged(tensors)}
        cut = tensors[0].shape[1] // self.chunk_size * self.chunk_size
        whole, within = balanced([one[:, :cut] for one in tensors])
        mask = self._odd(whole)
        exact = torch.stack([one[:, :cut] for one in tensors]).unflatten(2, (-1, self.chunk_size))[mask]
        layers, kv_heads, _, head_dim = whole.shape
        num = exact.shape[0] // (layers * kv_heads)
        return joint_factors(whole, self.rank_ratio, within) | {
            "outliers": exact.view(layers, kv_heads, num * self.chunk_size, head_dim),
            "places": pack(mask.to(torch.uint8), 1),
            "newest": unchanged([one[:, cut:] for one in tensors]),
        }

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        if side != KEYS and self.values == "int8":
            return Int8().decode(parts, side, dtype)
        if side != KEYS:
            stored = StoredParts("shadowkv", parts, ("full",))
            return list(stored.cast(stored.whole("full", None, None, None, None), dtype).unbind(0))
        stored = StoredParts("shadowkv", parts, PARTS)
        newest = stored.whole("newest", None, None, None, None)
        layers, kv_heads, _, head_dim = newest.shape
        whole = stored.cast(joint_product(stored, layers, kv_heads, head_dim), dtype).contiguous()
        num_chunks, left_over = divmod(whole.shape[2], self.chunk_size)
        outliers = stored.whole("outliers", layers, kv_heads, None, head_dim)
        num_odd, odd_left_over = divmod(outliers.shape[2], self.chunk_size)
        stored.require(left_over == odd_left_over == 0, "outliers", f"does not fill chunks of {self.chunk_size}")
        mask = stored.mask("places", num_chunks, num_odd, layers, kv_heads)
        chunks = stored.cast(outliers, dtype).view(-1, self.chunk_size, head_dim)
        whole.view(layers, kv_heads, num_chunks, self.chunk_size, head_dim)[mask] = chunks
        return list(torch.cat((whole, stored.cast(newest, dtype)), dim=2).unbind(0))

    def _odd(self, whole: Tensor) -> Tensor:
        """Return the chunks whose least cosine of a key and the chunk's mean is lowest: (layers, kv_heads, chunks)."""
        layers, kv_heads, num_tokens, head_dim = whole.shape
        num_chunks = num_tokens // self.chunk_size
        chunks = whole.view(layers, kv_heads, num_chunks, self.chunk_size, head_dim)
        alike = torch.cosine_similarity(chunks, chunks.mean(3, keepdim=True), dim=-1).amin(-1)
        lowest = torch.argsort(alike, dim=-1, stable=True)[..., : round(self.outlier_ratio * num_chunks)]
        return torch.zeros_like(alike, dtype=torch.bool).scatter_(-1, lowest, True)
