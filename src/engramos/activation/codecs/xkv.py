"""One basis of tokens for several layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs._ends import END_PARTS, Ends, ends_shape, joined
from engramos.activation.codecs._low_rank import check_ratio, joint_factors, joint_product
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs.base import KEYS, Codec
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class XKV(Codec):
    """Adjacent layers share the few numbers that each token keeps; each layer has its own matrix to make heads of them.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    8.7 bits a value, relative error 0.084 of keys and 0.173 of values, KL divergence 0.0079.

    Source: xKV, https://arxiv.org/abs/2503.18893.
    Differs: ranks are shares of the layers' channels, so that they suit models of any size (the paper's 512 for keys
        and 768 for values of four layers of 1,024 channels are 0.125 and 0.1875); the singular values come from the
        tokens' products, which is cheaper and the same; sink tokens stay as they are.
    """

    num_layers: int = 4
    """Adjacent layers that share a basis; 1 or more."""
    key_rank_ratio: float = 0.25
    """Rank of keys as a share of the layers' channels of all heads, in (0, 1]."""
    value_rank_ratio: float = 0.375
    """Rank of values, likewise."""
    num_sinks: int = 4
    """First tokens that stay in full precision; 0 or more. All later tokens look at them, and they are like no others.
    """
    residual: int = 0
    """Newest tokens that stay in full precision; 0 or more."""
    before_rope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ConfigError(f"num_layers is {self.num_layers}: give 1 or more")
        check_ratio("key_rank_ratio", self.key_rank_ratio)
        check_ratio("value_rank_ratio", self.value_rank_ratio)
        Ends(self.num_sinks, self.residual)

    @property
    def group(self) -> int:
        """How many adjacent layers share a basis."""
        return self.num_layers

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return `left` (1, tokens, rank), `right` (1, rank, layers * kv_heads, head_dim), first and newest tokens."""
        middle, ends = Ends(self.num_sinks, self.residual).split(tensors)
        whole, within = balanced(middle)
        ratio = self.key_rank_ratio if side == KEYS else self.value_rank_ratio
        return joint_factors(whole.flatten(0, 1).unsqueeze(0), ratio, within) | ends

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("xkv", parts, ("left", "right", *END_PARTS))
        layers, kv_heads, head_dim = ends_shape(stored)
        whole = joint_product(stored, 1, layers * kv_heads, head_dim)[0].unflatten(0, (layers, kv_heads))
        return joined(stored, whole, dtype)
