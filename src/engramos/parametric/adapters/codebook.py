"""A codebook at one layer: near a key, its value takes the place of the layer's hidden state."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings, other_shapes
from engramos.parametric.adapters._sources import check_rows, distances, kept_rows, text_list

MAX_ENTRIES = 8192
"""Balls need the distance of every entry to every other: 256 MiB of float32 at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Codebook(Adapter):
    """Entries of a key, a value and a ball around the key; a hidden state within a ball becomes the value.

    A ball begins as wide as `epsilon` times its key's length. It grows up to keys of the same token whose balls it
    touches, and ends halfway to the nearest key of another token. Balls follow from the keys alone, so that taking an
    entry out leaves the others as they would be without it.

    Source: GRACE, https://arxiv.org/abs/2211.11031, section 3 and algorithm 1.
    Differs: balls are computed from all keys, where the paper changes them edit by edit; each entry keeps its own key
    and value where the paper joins entries of one label; widths are relative to the key.
    """

    KIND: ClassVar[str] = "codebook"
    target: str
    """The layer whose output is replaced."""
    keys: Tensor
    """Hidden states before the layer: (entries, hidden)."""
    values: Tensor
    """Hidden states after it: (entries, hidden)."""
    tokens: Tensor
    """The token that an entry makes: (entries,) int64."""
    owners: Tensor
    """The place in `sources` of the request that an entry belongs to: (entries,) int64."""
    sources: tuple[str, ...]
    """What each request is known by."""
    epsilon: float
    """Width of a ball as a share of its key's length; 0 or more."""
    invocation: tuple[int, ...] = ()
    radii: Tensor = field(init=False, repr=False)
    """Of the balls: (entries,)."""

    def __post_init__(self) -> None:
        if not (isfinite(self.epsilon) and self.epsilon >= 0):
            raise InvalidInputError(f"epsilon of a codebook is {self.epsilon}: give a number, 0 or more")
        columns = {"keys": self.keys, "values": self.values, "tokens": self.tokens}
        check_rows(self.KIND, self.sources, self.owners, columns)
        if self.keys.ndim != 2 or self.values.ndim != 2 or self.tokens.ndim != 1:
            raise InvalidInputError("keys, values, tokens of a codebook need shapes (n, hidden), (n, hidden), (n,)")
        if len(self.keys) > MAX_ENTRIES:
            raise InvalidInputError(f"a codebook has {len(self.keys)} entries: give {MAX_ENTRIES} at most")
        object.__setattr__(self, "radii", _radii(self.keys.detach(), self.tokens, self.epsilon))

    @property
    def targets(self) -> tuple[str, ...]:
        """The one layer."""
        return (self.target,)

    def nearest(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entry whose ball each state is in, and whether there is one.

        Args:
            states: hidden states before the layer: (states, hidden).

        Returns:
            Numbers of entries, of no meaning where there is none, and a mask: (states,) each.
        """
        far = distances(states, self.keys)
        inside = far <= self.radii
        found = far.masked_fill(~inside, torch.inf).argmin(dim=-1)
        return found, inside.any(dim=-1)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with the values of the balls that the inputs are in."""
        if not len(self.keys):
            return output
        found, is_inside = self.nearest(inputs.flatten(0, -2))
        values = self.values[found].to(output).view_as(output)
        return torch.where(is_inside.view(output.shape[:-1])[..., None], values, output)

    def without(self, gone: Collection[str]) -> "Codebook":
        """Return the codebook as it would be had these requests never been edited.

        Raises:
            InvalidInputError: if one of them is not in it.
        """
        sources, owners, stay = kept_rows(self.KIND, self.sources, self.owners, gone)
        columns = (self.keys[stay], self.values[stay], self.tokens[stay])
        return Codebook(self.target, *columns, owners, sources, self.epsilon, self.invocation)

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the layer where its hidden states have another size than keys and values."""
        shape = (self.values.shape[1], self.keys.shape[1])
        return other_shapes(self.targets, lambda target: sizes.features(target) == shape)

    def tensors(self) -> dict[str, Tensor]:
        """Return keys, values, tokens and owners; the balls follow from them."""
        return {"keys": self.keys, "values": self.values, "tokens": self.tokens, "owners": self.owners}

    def settings(self) -> dict[str, Any]:
        """Return target, sources, epsilon and invocation."""
        return {
            "target": self.target,
            "sources": list(self.sources),
            "epsilon": self.epsilon,
            "invocation": list(self.invocation),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        names = ("keys", "values", "tokens", "owners")
        check_names(cls.KIND, tensors, names)
        check_settings(cls.KIND, settings, {"target": str, "sources": list, "epsilon": float})
        return cls(
            str(settings["target"]),
            *(tensors[name] for name in names),
            text_list(settings, "sources"),
            float(settings["epsilon"]),
            tuple(settings.get("invocation", ())),
        )


def _radii(keys: Tensor, tokens: Tensor, epsilon: float) -> Tensor:
    """Return how wide each ball is: (entries,)."""
    if not len(keys):
        return keys.new_zeros(0)
    first = epsilon * torch.linalg.vector_norm(keys, dim=-1)
    apart = distances(keys, keys)
    is_same = tokens[:, None] == tokens[None]
    touches = is_same & (apart <= first[:, None] + first[None])
    grown = torch.maximum(first, apart.masked_fill(~touches, 0.0).amax(dim=-1))
    nearest_other = apart.masked_fill(is_same, torch.inf).amin(dim=-1)
    return torch.minimum(grown, nearest_other / 2)
