"""Numbers brought into the range of half precision, and rounded there to the safe side.

Caches of common models lie within it, and their scales are stored in half precision. A cache that is out of it as a
whole, be it huge or tiny, is divided by a power of two first; its scales are then stored in float32 with that power in
them, so that nothing else must be kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import InvalidInputError

LEAST_PEAK, GREATEST_PEAK = 2.0**-6, 2.0**11
"""Where the greatest magnitude may lie: scales stay normal numbers below, norms of 1,024 channels stay finite above."""

NOT_FINITE = "keys or values hold NaN or infinity: they cannot be stored, prefill again"


@dataclass(frozen=True, slots=True)
class Range:
    """The power of two that the numbers were divided by."""

    exponent: int
    """0 where scales are stored in half precision."""

    @classmethod
    def of(cls, peak: float) -> "Range":
        """Return the range of numbers with this greatest magnitude.

        Raises:
            InvalidInputError: if it is not finite.
        """
        if not math.isfinite(peak):
            raise InvalidInputError(NOT_FINITE)
        if peak == 0.0 or LEAST_PEAK <= peak <= GREATEST_PEAK:
            return cls(0)
        return cls(min(max(math.frexp(peak)[1], -126), 127))

    def narrowed(self, numbers: Tensor) -> Tensor:
        """Return numbers divided by the power."""
        if not self.exponent:
            return numbers
        # two steps, as the inverse of the greatest power is no normal number
        half = self.exponent // 2
        return numbers * 2.0**-half * 2.0 ** (half - self.exponent)

    def stored(self, numbers: Tensor) -> Tensor:
        """Return numbers of the narrowed range as a part."""
        if not self.exponent:
            return numbers.to(torch.float16).contiguous()
        half = self.exponent // 2
        return (numbers * 2.0**half * 2.0 ** (self.exponent - half)).contiguous()

    def rounded_up(self, numbers: Tensor) -> Tensor:
        """Return numbers rounded up to those that `stored` keeps: float32."""
        if self.exponent:
            return numbers
        half = numbers.to(torch.float16) + 0.0
        bits = half.view(torch.int16)
        next_up = torch.where(bits >= 0, bits + 1, bits - 1).view(torch.float16)
        return torch.where(half < numbers, next_up, half).float()

    def rounded_down(self, numbers: Tensor) -> Tensor:
        """Return numbers rounded down to those that `stored` keeps: float32."""
        return -self.rounded_up(-numbers)


def is_finite(numbers: Tensor) -> bool:
    """Return whether no number is NaN or infinite."""
    if not numbers.numel():
        return True
    # one pass without a mask; NaN makes both NaN
    low, high = torch.aminmax(numbers)
    return math.isfinite(float(low)) and math.isfinite(float(high))


def balanced(tensors: Sequence[Tensor]) -> tuple[Tensor, Range]:
    """Return the tensors as one in float32, in the range of half precision.

    Args:
        tensors: of each layer: (kv_heads, tokens, head_dim).

    Returns:
        (layers, kv_heads, tokens, head_dim), and its range.

    Raises:
        InvalidInputError: if a number is not finite.
    """
    whole = torch.stack([one.float() for one in tensors])
    if not whole.numel():
        return whole, Range(0)
    low, high = torch.aminmax(whole)
    # NaN would not be seen by max
    within = Range.of(float(torch.maximum(-low, high)))
    return within.narrowed(whole), within


def unchanged(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensors as one part, as they are: (layers, kv_heads, tokens, head_dim).

    Raises:
        InvalidInputError: if a number is not finite.
    """
    whole = torch.stack(tuple(tensors))
    if not is_finite(whole):
        raise InvalidInputError(NOT_FINITE)
    return whole
