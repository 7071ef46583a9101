"""Few bits with a scale and a zero for each group: keys along the tokens of a channel, values along channels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs._packing import pack, packed_length, unpack
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._quantize import asymmetric, greatest_divisor
from engramos.activation.codecs._range import Range
from engramos.activation.codecs.base import KEYS
from engramos.errors import ConfigError

GROUP_PARTS = ("codes", "scales", "zeros")


@dataclass(frozen=True, slots=True)
class Groups:
    """How one side is grouped."""

    side: str
    """`keys` or `values`."""
    bits: int
    """2, 4 or 8."""
    group_size: int
    """Tokens (keys) or channels (values) that share a scale and a zero."""

    @property
    def unit(self) -> int:
        """What the number of tokens must be a multiple of."""
        return self.group_size if self.side == KEYS else 1

    def encode(self, whole: Tensor, within: Range) -> dict[str, Tensor]:
        """Return packed codes, scales and zeros.

        Args:
            whole: (layers, kv_heads, tokens, head_dim) float32 in the range of half precision; keys fill their groups.
            within: its range.
        """
        groups, dim = self._grouped(whole)
        codes, scales, zeros = asymmetric(groups, dim, self.bits, within)
        return {"codes": pack(codes.view(whole.shape), self.bits), "scales": scales, "zeros": zeros}

    def decode(self, stored: StoredParts, layers: int, kv_heads: int, head_dim: int) -> Tensor:
        """Return (layers, kv_heads, tokens, head_dim) float32.

        Raises:
            CorruptPayloadError: if the parts do not fit together.
        """
        packed = stored.take("codes", (torch.uint8,), layers, kv_heads, None, packed_length(head_dim, self.bits))
        num_tokens = packed.shape[2]
        if self.side == KEYS:
            stored.require(num_tokens % self.group_size == 0, "codes", f"does not fill groups of {self.group_size}")
        groups, dim = self._grouped(unpack(packed, self.bits, head_dim).float())
        shape = [length for axis, length in enumerate(groups.shape) if axis != dim]
        scales = stored.scales("scales", *shape).unsqueeze(dim)
        zeros = stored.scales("zeros", *shape, is_signed=True).unsqueeze(dim)
        return groups.mul_(scales).add_(zeros).view(layers, kv_heads, num_tokens, head_dim)

    def _grouped(self, whole: Tensor) -> tuple[Tensor, int]:
        """Return the numbers with an axis of a group's numbers, and which axis that is."""
        layers, kv_heads, num_tokens, head_dim = whole.shape
        if self.side == KEYS:
            return whole.view(layers, kv_heads, num_tokens // self.group_size, self.group_size, head_dim), 3
        width = greatest_divisor(head_dim, self.group_size)
        return whole.view(layers, kv_heads, num_tokens, head_dim // width, width), 4


def check(bits: int, group_size: int) -> None:
    """Refuse parameters that no codec with groups can have.

    Raises:
        ConfigError: with the parameter, its value and what to give.
    """
    if bits not in (2, 4, 8):
        raise ConfigError(f"bits is {bits}: use 2, 4 or 8")
    if group_size < 1:
        raise ConfigError(f"group_size is {group_size}: give 1 or more")
