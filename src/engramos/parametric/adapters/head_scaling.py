"""Attention heads made louder or quieter, so that a model follows its weights, or its context, more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings, other_shapes

MAX_SCALE = 100.0
"""Of a head, on either side of zero."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadScaling(Adapter):
    """Multiplies what single attention heads give to the output of their layer's attention.

    Heads stand side by side in what the output projection reads, so scaling one is adding `scale - 1` times what the
    projection makes of its part. The columns of the projection for these heads are kept here: the adapter needs no
    look at the base model, and is as large as those columns.

    Source: heads are cut off in PH3, https://arxiv.org/abs/2402.18154, and scaled up or down in JUICE,
    https://arxiv.org/abs/2503.10996.
    Differs: one pass. JUICE reads the prompt twice and adds the heads' outputs of the first pass in the second.
    """

    KIND: ClassVar[str] = "head_scaling"
    heads: Mapping[str, tuple[int, ...]]
    """By output projection: the heads that are scaled, counted from 0, each once."""
    scales: Mapping[str, Tensor]
    """By output projection: (heads,) float32; 0 mutes a head, 1 leaves it as it is."""
    columns: Mapping[str, Tensor]
    """By output projection: its columns for these heads, (out_features, heads * head_dim)."""
    invocation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.heads or not self.heads.keys() == self.scales.keys() == self.columns.keys():
            raise InvalidInputError("a head scaling needs heads, scales and columns of at least one module")
        for name, heads in self.heads.items():
            scales, columns = self.scales[name], self.columns[name]
            if not heads or len(set(heads)) != len(heads) or min(heads) < 0:
                raise InvalidInputError(f"heads of {name[:80]!r} are {heads}: give numbers from 0 on, each once")
            if scales.shape != (len(heads),) or columns.ndim != 2 or columns.shape[1] % len(heads):
                shapes = f"{tuple(scales.shape)} and {tuple(columns.shape)}"
                raise InvalidInputError(
                    f"tensors of {name[:80]!r} have shapes {shapes}: they fit not {len(heads)} heads"
                )
            if not bool((scales.detach().abs() <= MAX_SCALE).all()):
                raise InvalidInputError(f"a scale of {name[:80]!r} is not between -{MAX_SCALE:g} and {MAX_SCALE:g}")

    @property
    def targets(self) -> tuple[str, ...]:
        """The output projections."""
        return tuple(self.heads)

    def head_dim(self, target: str) -> int:
        """Return how many features each head has."""
        return self.columns[target].shape[1] // len(self.heads[target])

    def _fits(self, target: str, out_features: int, in_features: int) -> bool:
        needed = (max(self.heads[target]) + 1) * self.head_dim(target)
        return needed <= in_features and self.columns[target].shape[0] == out_features

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with what the scaled heads give multiplied."""
        heads, columns = self.heads[target], self.columns[target]
        size = self.head_dim(target)
        if not self._fits(target, output.shape[-1], inputs.shape[-1]):
            raise InvalidInputError(
                f"{target[:80]!r} of this model has no {max(heads) + 1} heads of {size}: find them anew"
            )
        parts = inputs.unflatten(-1, (-1, size))[..., list(heads), :]
        louder = parts * (self.scales[target] - 1).to(inputs.dtype)[:, None]
        return output + torch.nn.functional.linear(louder.flatten(-2), columns.to(inputs.dtype))

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the projections of another shape, or with heads of another size or too few of them."""
        shapes = {name: sizes.weights[name] for name in self.targets}
        found = other_shapes(self.targets, lambda one: len(shapes[one]) == 2 and self._fits(one, *shapes[one]))
        head_dims = {head_dim for _, head_dim in sizes.caches}
        is_known = all(self.head_dim(name) in head_dims for name in self.targets)
        return found + (() if is_known else ("head_dim",))

    def tensors(self) -> dict[str, Tensor]:
        """Return both tensors of every module, as `<module>.scales` and `<module>.columns`."""
        scales = {f"{name}.scales": one for name, one in self.scales.items()}
        return scales | {f"{name}.columns": one for name, one in self.columns.items()}

    def settings(self) -> dict[str, Any]:
        """Return the heads of each module, and the invocation."""
        return {"heads": {name: list(one) for name, one in self.heads.items()}, "invocation": list(self.invocation)}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        check_settings(cls.KIND, settings, {"heads": dict})
        stored = settings["heads"]
        if not all(isinstance(one, list) and all(type(head) is int for head in one) for one in stored.values()):
            raise InvalidInputError("the heads of a head scaling are no lists of numbers: find them anew")
        heads = {name: tuple(one) for name, one in stored.items()}
        check_names(cls.KIND, tensors, [f"{name}.{part}" for name in heads for part in ("scales", "columns")])
        scales, columns = ({name: tensors[f"{name}.{part}"] for name in heads} for part in ("scales", "columns"))
        return cls(heads, scales, columns, tuple(settings.get("invocation", ())))
