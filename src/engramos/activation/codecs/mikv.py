"""Important tokens in high precision, the rest in low precision instead of evicted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs._packing import pack, packed_length, unpack
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._quantize import asymmetric, greatest_divisor, symmetric
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs.base import KEYS, Codec
from engramos.errors import ConfigError

PARTS = ("important", "high", "high_scales", "low", "low_scales", "low_zeros", "balancer")


@dataclass(frozen=True, slots=True)
class MiKV(Codec):
    """Each head keeps its most important tokens in 8 bits and all others in few bits.

    Where queries are known, each channel of keys is multiplied by the root of the queries' greatest magnitude over the
    keys' before it is quantised in few bits, and divided again after: outliers of keys shrink, and channels that
    queries weigh heavily grow.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    5.84 bits a value, relative error 0.071 of keys and of values, KL divergence 0.0006, with the
    attention of the newest 64 queries as importance.

    Source: No Token Left Behind, https://arxiv.org/abs/2402.18096.
    Differs: high precision is 8 bits with a scale for each token and head; importance comes from the caller, and
        without it the first and then the newest tokens are the important ones.
    """

    important_ratio: float = 0.25
    """Share of each head's tokens in high precision, in [0, 1]; rounded up to whole tokens."""
    low_bits: int = 4
    """Bits of the others: 2, 3 or 4."""
    group_size: int = 32
    """Channels of a token that share a scale and a zero, among the others; 1 or more."""
    num_sinks: int = 4
    """First tokens that are important where no importance is given; 0 or more."""
    needs: ClassVar[frozenset[str]] = frozenset({"importance", "queries"})

    def __post_init__(self) -> None:
        if not 0.0 <= self.important_ratio <= 1.0:
            raise ConfigError(f"important_ratio is {self.important_ratio}: give a number from 0 to 1")
        if self.low_bits not in (2, 3, 4):
            raise ConfigError(f"low_bits is {self.low_bits}: use 2, 3 or 4")
        if self.group_size < 1:
            raise ConfigError(f"group_size is {self.group_size}: give 1 or more")
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return a mask of the important tokens, their codes, the others' codes, and what channels are divided by."""
        whole, within = balanced(tensors)
        mask = self._important(whole, importance)
        head_dim = whole.shape[-1]
        high, high_scales = symmetric(_chosen(whole, mask), within)
        balancer = _balancer(whole, queries) if queries and side == KEYS else whole.new_ones((*whole.shape[:2], 0))
        others = _chosen(whole, ~mask)
        if balancer.shape[-1]:
            balancer = balancer.to(torch.float16)
            others = others * balancer.float().unsqueeze(2)
        groups = others.unflatten(-1, (-1, greatest_divisor(head_dim, self.group_size)))
        low, low_scales, low_zeros = asymmetric(groups, 4, self.low_bits, within)
        return {
            "important": pack(mask.to(torch.uint8), 1),
            "high": high,
            "high_scales": high_scales,
            "low": pack(low.flatten(3), self.low_bits),
            "low_scales": low_scales,
            "low_zeros": low_zeros,
            "balancer": balancer.to(torch.float16).contiguous(),
        }

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("mikv", parts, PARTS)
        high = stored.take("high", (torch.int8,), None, None, None, None)
        layers, kv_heads, num_high, head_dim = high.shape
        stored.require_head_dim(head_dim)
        high_scales = stored.scales("high_scales", layers, kv_heads, num_high)
        width = packed_length(head_dim, self.low_bits)
        packed = stored.take("low", (torch.uint8,), layers, kv_heads, None, width)
        num_low = packed.shape[2]
        mask = stored.mask("important", num_high + num_low, num_high, layers, kv_heads)
        low = self._low(stored, unpack(packed, self.low_bits, head_dim))
        whole = low.new_empty((layers, kv_heads, num_high + num_low, head_dim))
        whole[mask] = (high.float() * high_scales.unsqueeze(-1)).flatten(0, 2)
        whole[~mask] = low.flatten(0, 2)
        return list(stored.cast(whole, dtype).unbind(0))

    def _low(self, stored: StoredParts, codes: Tensor) -> Tensor:
        """Return the tokens in low precision: float32, channels as they were."""
        layers, kv_heads, _, head_dim = codes.shape
        groups = codes.float().unflatten(-1, (-1, greatest_divisor(head_dim, self.group_size)))
        scales = stored.scales("low_scales", *groups.shape[:4])
        zeros = stored.scales("low_zeros", *groups.shape[:4], is_signed=True)
        low = groups.mul_(scales.unsqueeze(-1)).add_(zeros.unsqueeze(-1)).flatten(3)
        balancer = stored.scales("balancer", layers, kv_heads, None)
        if not balancer.shape[2]:
            return low
        stored.require(balancer.shape[2] == head_dim and bool((balancer > 0).all()), "balancer", "divides by nothing")
        return low.div_(balancer.unsqueeze(2))

    def _important(self, whole: Tensor, importance: Sequence[Tensor] | None) -> Tensor:
        """Return which tokens are important, as many in each head: (layers, kv_heads, tokens) bool."""
        num_tokens = whole.shape[2]
        # without the small step down, floats make 0.07 of 100 tokens 8
        num = max(0, math.ceil(self.important_ratio * num_tokens - 1e-9))
        if importance is None:
            scores = torch.arange(num_tokens, dtype=torch.float32, device=whole.device)
            scores[: self.num_sinks] = math.inf
            scores = scores.expand(whole.shape[:3])
        else:
            scores = torch.stack([one.float() for one in importance])
        best = torch.argsort(scores, dim=-1, descending=True, stable=True)[..., :num]
        return torch.zeros(whole.shape[:3], dtype=torch.bool, device=whole.device).scatter_(-1, best, True)


def _chosen(whole: Tensor, mask: Tensor) -> Tensor:
    """Return the tokens that a mask names, as many in each head: (layers, kv_heads, chosen, head_dim)."""
    layers, kv_heads, _, head_dim = whole.shape
    num = int(mask[0, 0].sum())
    return whole[mask].view(layers, kv_heads, num, head_dim)


def _balancer(whole: Tensor, queries: Sequence[Tensor]) -> Tensor:
    """Return what each channel of keys is multiplied by: (layers, kv_heads, head_dim)."""
    layers, kv_heads, num_tokens, head_dim = whole.shape
    if not num_tokens or not queries[0].shape[1]:
        return whole.new_ones((layers, kv_heads, 0))
    asked = torch.stack([one.float().reshape(kv_heads, -1, head_dim).abs().amax(1) for one in queries])
    ratio = torch.sqrt(asked / whole.abs().amax(2).clamp(min=1e-30))
    # only the ratios of channels matter; near 1, no product leaves the range of half precision
    middle = ratio.clamp(min=1e-30).log().mean(-1, keepdim=True).exp()
    return (ratio / middle).clamp(1 / 16, 16)
