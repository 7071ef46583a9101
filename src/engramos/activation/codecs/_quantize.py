"""Quantisation to whole numbers, shared by the codecs."""

import torch
from torch import Tensor

from engramos.activation.codecs._range import Range


def asymmetric(numbers: Tensor, dim: int, bits: int, within: Range) -> tuple[Tensor, Tensor, Tensor]:
    """Quantise evenly between the least and the greatest number of each group.

    The scale and the least number are rounded to what is stored before numbers are quantised, outwards, so that no
    number is cut off and each comes back within half a scale.

    Args:
        numbers: float32 in the range of half precision, any shape; the axis `dim` not empty.
        dim: the axis along which numbers share a scale.
        bits: 1 to 8.
        within: the range of the numbers.

    Returns:
        Codes as uint8; scale and zero as parts, their axis `dim` dropped.
    """
    levels = (1 << bits) - 1
    low, high = numbers.amin(dim, keepdim=True), numbers.amax(dim, keepdim=True)
    zero = within.rounded_down(low)
    scale = within.rounded_up((high - zero) / levels)
    codes = (numbers - zero).div_(torch.where(scale > 0, scale, 1.0)).round_().clamp_(0, levels).to(torch.uint8)
    return codes, within.stored(scale.squeeze(dim)), within.stored(zero.squeeze(dim))


def symmetric(numbers: Tensor, within: Range) -> tuple[Tensor, Tensor]:
    """Quantise to -127..127 of a scale for each vector of the last axis.

    Args:
        numbers: (..., head_dim) float32 in the range of half precision.
        within: the range of the numbers.

    Returns:
        Codes as int8 and the scale (...) as a part.
    """
    scale = within.rounded_up(peaks(numbers) / 127.0)
    codes = (numbers / torch.where(scale > 0, scale, 1.0).unsqueeze(-1)).round_().to(torch.int8)
    return codes, within.stored(scale)


def peaks(numbers: Tensor) -> Tensor:
    """Return the greatest magnitude along the last axis: (...); 0 where that axis is empty."""
    width = numbers.shape[-1]
    if not width:
        return numbers.new_zeros(numbers.shape[:-1])
    highest = numbers.abs()
    # halves are compared as long as they are even: several times faster than a reduction of a short axis
    while width % 2 == 0 and width > 8:
        width //= 2
        highest = torch.maximum(highest[..., :width], highest[..., width:])
    return highest.amax(-1)


def greatest_divisor(num: int, most: int) -> int:
    """Return the greatest divisor of `num` that is at most `most`.

    Args:
        num: 1 or more.
        most: 1 or more.
    """
    return next(one for one in range(min(num, most), 0, -1) if num % one == 0)
