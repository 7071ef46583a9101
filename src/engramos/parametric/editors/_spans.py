"""Requests of edits read up to the layer that is edited, for methods that train on the answers' tokens alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError
from engramos.parametric.editors._requests import Row
from engramos.parametric.editors._values import device_of, table
from engramos.parametric.model import BaseModel


def layer_at(base: BaseModel, depth: float) -> int:
    """Return the layer that stands at a share of the model's depth, the last one at most."""
    return min(int(depth * base.num_layers), base.num_layers - 1)


def check_depth(depth: float) -> None:
    """Refuse a depth out of range.

    Raises:
        ConfigError: if it is not from 0 to 1.
    """
    if not 0.0 <= depth <= 1.0:
        raise ConfigError(f"depth is {depth}: give a share of the model's layers, from 0 to 1")


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Rows that were read up to a layer, and where their answers are."""

    hidden: Tensor
    """Before the layer: (rows, tokens, hidden)."""
    is_asked: Tensor
    """Tokens after which one of the target comes: (rows, tokens) bool."""
    wanted: Tensor
    """The targets' tokens, row by row: (answer tokens,) int64."""


@torch.no_grad()
def span_of(rows: Sequence[Row], base: BaseModel, layer: int) -> Span:
    """Return rows with their targets, read up to a layer."""
    ids = table([row.ids for row in rows], base)
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    first = torch.tensor([[len(row.prompt) - 1] for row in rows], device=ids.device)
    last = torch.tensor([[len(row.ids) - 1] for row in rows], device=ids.device)
    wanted = torch.tensor([token for row in rows for token in row.target], device=ids.device)
    hidden = base.run(base.embedded(ids), 0, layer)
    return Span(hidden, (places >= first) & (places <= last), wanted)


@torch.no_grad()
def read_up_to(rows: Sequence[Sequence[int]], base: BaseModel, layer: int) -> tuple[Tensor, Tensor]:
    """Return hidden states before a layer: (rows, tokens, hidden), and which count: (rows, tokens) bool.

    Padding does not, and what rows begin with alike, such as the opening of a chat template, counts once.
    """
    ids = table(rows, base)
    counts = torch.zeros(ids.shape, dtype=torch.bool)
    seen: set[tuple[int, ...]] = set()
    for number, row in enumerate(rows):
        for place in range(len(row)):
            start = tuple(row[: place + 1])
            counts[number, place] = start not in seen
            seen.add(start)
    return base.run(base.embedded(ids), 0, layer), counts.to(device_of(base))
