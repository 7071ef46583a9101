"""Few bits: keys by channel, values by token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs._ends import END_PARTS, Ends, ends_shape, joined
from engramos.activation.codecs._groups import GROUP_PARTS, Groups, check
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs.base import Codec


@dataclass(frozen=True, slots=True)
class Int4(Codec):
    """Keys share a scale and a zero along the tokens of a channel, values along the channels of a token.

    Keys have channels that are far greater than others in every token, values do not; so a channel of keys has its own
    scale, and its outliers cost the others nothing. `bits` + 32 / `group_size` bits a value, and each number comes back
    within half its group's scale.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    5.00 bits a value, relative error 0.039 of keys and 0.082 of values, KL divergence 0.0032;
    with 2 bits 3.00, 0.198, 0.411 and 0.14.

    Source: KIVI, https://arxiv.org/abs/2402.02750; newest tokens in full precision are also WKVQuant's,
        https://arxiv.org/abs/2402.12065.
    Differs: `residual` is 0, as a stored cache is read more often than it grows; the scale and the zero are rounded
        outwards, so that nothing is cut off; where head_dim is no multiple of `group_size`, values are grouped by the
        greatest divisor of head_dim below.
    """

    bits: int = 4
    """Bits of a code: 2, 4 or 8."""
    group_size: int = 32
    """Tokens (keys) or channels (values) that share a scale and a zero; 1 or more."""
    num_sinks: int = 0
    """First tokens that stay in full precision; 0 or more."""
    residual: int = 0
    """Newest tokens that stay in full precision; 0 or more. Keys of tokens that fill no group stay so too."""

    def __post_init__(self) -> None:
        check(self.bits, self.group_size)
        Ends(self.num_sinks, self.residual)

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return packed codes, scales, zeros, and the newest tokens as they are.

        Keys have scales (layers, kv_heads, groups of tokens, head_dim), values (layers, kv_heads, tokens, groups).
        """
        groups = Groups(side, self.bits, self.group_size)
        middle, ends = Ends(self.num_sinks, self.residual).split(tensors, groups.unit)
        whole, within = balanced(middle)
        return groups.encode(whole, within) | ends

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("int4", parts, (*GROUP_PARTS, *END_PARTS))
        layers, kv_heads, head_dim = ends_shape(stored)
        whole = Groups(side, self.bits, self.group_size).decode(stored, layers, kv_heads, head_dim)
        return joined(stored, whole, dtype)
