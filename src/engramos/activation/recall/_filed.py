"""Summaries that grow: rows are added to tensors that have room to spare.

A tensor that is joined anew for each stretch would be copied whole each time, and a long stream would take quadratic
time. Here it grows by an eighth whenever it is full, so that a row is copied about eight times in all.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from engramos.activation.recall.base import Filed

LEAST_ROOM = 16
OPEN = "open."
"""Before the names of tensors that hold tokens whose block is not yet whole."""


def append(filed: Filed, name: str, new: Tensor) -> None:
    """Add rows behind those of this name.

    Args:
        filed: where they are kept.
        name: of the rows.
        new: (heads, rows, ...): the axis of rows is the second.
    """
    count = num_rows(filed, name)
    total = count + new.shape[1]
    held = filed.tensors.get(name)
    if held is None or held.shape[1] < total:
        room = max(total, LEAST_ROOM, count + count // 8)
        larger = new.new_zeros((new.shape[0], room, *new.shape[2:]))
        if held is not None:
            larger[:, :count] = held[:, :count]
        held = filed.tensors[name] = larger
    held[:, count:total] = new
    filed.tensors[f"{name}.count"] = torch.tensor(total)


def num_rows(filed: Filed, name: str) -> int:
    """Return how many rows of this name there are."""
    return int(filed.tensors[f"{name}.count"]) if name in filed.tensors else 0


def rows(filed: Filed, name: str, like: Tensor) -> Tensor:
    """Return the rows of this name, a view.

    Args:
        filed: where they are kept.
        name: of the rows.
        like: (heads, any, ...): where there are none yet, its shape and dtype with no rows are returned.
    """
    if name not in filed.tensors:
        return like[:, :0]
    return filed.tensors[name][:, : num_rows(filed, name)]


def take_whole(filed: Filed, stretch: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Return what fills whole blocks of the tokens that were open before and of a stretch; the rest stays open.

    Args:
        filed: keeps the open tokens.
        stretch: (heads, tokens, ...) by name, of one number of tokens.
        size: tokens in a block.

    Returns:
        (heads, blocks, size, ...) by name; there may be 0 blocks.
    """
    joined = join_open(filed, stretch)
    num_tokens = next(iter(joined.values())).shape[1]
    blocks = num_tokens // size
    keep_open(filed, joined, blocks * size)
    return {name: one[:, : blocks * size].unflatten(1, (blocks, size)) for name, one in joined.items()}


def join_open(filed: Filed, stretch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the open tokens and behind them those of a stretch."""
    held = filed.tensors
    return {
        name: torch.cat((held[OPEN + name], new), dim=1) if OPEN + name in held else new
        for name, new in stretch.items()
    }


def keep_open(filed: Filed, tokens: Mapping[str, Tensor], start: int) -> None:
    """Keep the tokens from `start` on as the open ones, and no byte of those before."""
    for name, one in tokens.items():
        filed.tensors[OPEN + name] = one[:, start:].clone()


def open_tokens(filed: Filed, name: str) -> Tensor:
    """Return what is kept of the open tokens under this name; something must have been filed before."""
    return filed.tensors[OPEN + name]
