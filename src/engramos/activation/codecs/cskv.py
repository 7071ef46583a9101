"""A low rank of the channels of each layer, the newest tokens whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs._ends import END_PARTS, Ends, ends_shape, joined
from engramos.activation.codecs._low_rank import check_ratio, joint_factors, joint_product
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs.base import Codec


@dataclass(frozen=True, slots=True)
class CSKV(Codec):
    """Tokens keep a few numbers each, from which all heads of their layer are made by one small matrix.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    10.3 bits a value, relative error 0.075 of keys and 0.252 of values, KL divergence 0.011.

    Source: CSKV, https://arxiv.org/abs/2409.10593.
    Differs: the matrices come from the cache itself by singular values, and not from training on a layer's outputs, so
        they are stored beside it; sink tokens stay as they are.
    """

    rank_ratio: float = 0.5
    """Rank as a share of a layer's channels of all heads, in (0, 1]."""
    num_sinks: int = 4
    """First tokens that stay in full precision; 0 or more. All later tokens look at them, and they are like no others.
    """
    residual: int = 32
    """Newest tokens that stay in full precision; 0 or more."""
    before_rope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ratio("rank_ratio", self.rank_ratio)
        Ends(self.num_sinks, self.residual)

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return `left` (layers, tokens, rank), `right` (layers, rank, kv_heads, head_dim), first and newest tokens."""
        middle, ends = Ends(self.num_sinks, self.residual).split(tensors)
        whole, within = balanced(middle)
        return joint_factors(whole, self.rank_ratio, within) | ends

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("cskv", parts, ("left", "right", *END_PARTS))
        layers, kv_heads, head_dim = ends_shape(stored)
        whole = joint_product(stored, layers, kv_heads, head_dim)
        return joined(stored, whole, dtype)
