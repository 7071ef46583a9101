"""Checks that the parameters of several policies share."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.activation.view import LayerView
from engramos.errors import ConfigError

Scores = tuple[tuple[float, ...], ...]
"""One number for each kv head of each layer; empty where none are given."""


def check_least(least: float, **values: float) -> None:
    """Check that no value is below `least`.

    Raises:
        ConfigError: for the first that is.
    """
    for name, value in values.items():
        if not least <= value < math.inf:
            raise ConfigError(f"{name} is {value}: give {least} or more")


def check_share(**values: float) -> None:
    """Check that each value lies in (0, 1].

    Raises:
        ConfigError: for the first that does not.
    """
    for name, value in values.items():
        if not 0.0 < value <= 1.0:
            raise ConfigError(f"{name} is {value}: give a number above 0, up to 1")


def check_odd(**values: int) -> None:
    """Check that each value is odd and positive.

    Raises:
        ConfigError: for the first that is not.
    """
    for name, value in values.items():
        if value < 1 or value % 2 == 0:
            raise ConfigError(f"{name} is {value}: give an odd number, 1 or more")


def table_of(name: str, scores: Sequence[Sequence[float]]) -> Scores:
    """Return a table of head scores as tuples: rows of one length, finite numbers.

    Raises:
        ConfigError: if a row differs in length, or a number is not finite.
    """
    table = tuple(tuple(float(value) for value in row) for row in scores)
    if len({len(row) for row in table}) > 1 or () in table:
        raise ConfigError(f"{name} has empty rows or rows of different lengths: give a number for each kv head")
    for layer, row in enumerate(table):
        if not all(math.isfinite(value) for value in row):
            raise ConfigError(f"{name} of layer {layer} is {row}: give finite numbers")
    return table


def row_of(name: str, scores: Sequence[Sequence[float]], view: LayerView) -> Tensor | None:
    """Return the given numbers of a layer's heads, None where none are given.

    Returns:
        (kv_heads,) float32.

    Raises:
        ConfigError: if the table was made for a model of another shape.
    """
    if not scores:
        return None
    if len(scores) != view.num_layers or len(scores[0]) != view.kv_heads:
        raise ConfigError(
            f"{name} is for {len(scores)} layers of {len(scores[0])} kv heads and the model has {view.num_layers} of "
            f"{view.kv_heads}: give the table of this model"
        )
    return torch.tensor(scores[view.layer], dtype=torch.float32)
