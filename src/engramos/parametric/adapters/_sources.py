"""Rows of stores, each of which belongs to one source."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engramos.errors import InvalidInputError


def check_rows(kind: str, sources: Sequence[str], owners: Tensor, columns: Mapping[str, Tensor]) -> None:
    """Refuse a store whose columns do not have one number for each row, or whose rows belong to nobody.

    Raises:
        InvalidInputError: with the column that is wrong.
    """
    if len(set(sources)) != len(sources):
        raise InvalidInputError(f"a {kind} names a source twice: write it anew")
    if owners.ndim != 1 or owners.dtype != torch.int64:
        raise InvalidInputError(f"owners of a {kind} are no list of int64: write it anew")
    for name, column in columns.items():
        if column.ndim < 1 or len(column) != len(owners):
            raise InvalidInputError(f"{name} of a {kind} do not fit its {len(owners)} rows: write it anew")
    if len(owners) and not 0 <= int(owners.min()) <= int(owners.max()) < len(sources):
        raise InvalidInputError(f"a row of a {kind} belongs to none of its {len(sources)} sources: write it anew")


def kept_rows(
    kind: str, sources: Sequence[str], owners: Tensor, gone: Collection[str]
) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Return the sources, the owners, and a mask of the rows that stay when some sources go.

    Raises:
        InvalidInputError: if one of them is no source.
    """
    unknown = sorted(set(gone) - set(sources))
    if unknown:
        raise InvalidInputError(f"{unknown[0][:80]!r} is no source of this {kind}: it has {len(sources)} others")
    stay = tuple(one for one in sources if one not in gone)
    number = {one: place for place, one in enumerate(stay)}
    renumbered = torch.tensor([number.get(one, -1) for one in sources], dtype=torch.int64, device=owners.device)
    moved = renumbered[owners] if len(owners) else owners
    return stay, moved[moved >= 0], moved >= 0


def distances(states: Tensor, keys: Tensor) -> Tensor:
    """Return the Euclidean distances of hidden states from keys: (states, keys).

    Differences are summed as they are: by products, near points of great length lie 0 or far apart by rounding alone.
    """
    return torch.cdist(states.to(keys), keys, compute_mode="donot_use_mm_for_euclid_dist")


def text_list(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of texts out of stored settings.

    Raises:
        InvalidInputError: if it is missing or something else.
    """
    found = settings.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidInputError(f"{name} of an adapter are no list of texts: write it anew")
    return tuple(found)
