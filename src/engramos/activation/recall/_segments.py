"""Segments of unequal length, one after the other: sentences and events."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.activation.recall._filed import append, rows
from engramos.activation.recall.base import Filed

LENGTHS = "lengths"


def next_end(borders: Sequence[int], start: int, num_tokens: int, least: int, most: int, after: int = 0) -> int | None:
    """Return where the segment that begins at `start` ends, or None if more tokens are needed to tell.

    Args:
        borders: places at which a segment may begin, rising.
        start: where this one begins.
        num_tokens: tokens that are there.
        least: tokens in a segment at least.
        most: tokens in a segment at most.
        after: borders up to here no longer count.
    """
    at = bisect_left(borders, max(start + least, after + 1))
    end = borders[at] if at < len(borders) else num_tokens + 1
    if end > start + most:
        end = start + most
    return end if end <= num_tokens else None


def keep_lengths(filed: Filed, lengths: Sequence[int], device: torch.device) -> None:
    """Add the lengths of further segments."""
    append(filed, LENGTHS, torch.tensor([lengths], dtype=torch.int32, device=device))


def kept_lengths(filed: Filed, num_open: int, device: torch.device) -> Tensor:
    """Return the lengths of all segments, the open tokens as one more: (segments,) int64."""
    none = torch.zeros((1, 0), dtype=torch.int32, device=device)
    whole = rows(filed, LENGTHS, none)[0].long()
    still_open = torch.full((int(num_open > 0),), num_open, dtype=torch.int64, device=device)
    return torch.cat((whole, still_open))
