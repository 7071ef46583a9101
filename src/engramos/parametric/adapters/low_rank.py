"""Low-rank updates of linear modules: what LoRA trains, and what locating editors write."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings, other_shapes

MAX_RANK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class LowRank(Adapter):
    """Adds `scale * up(down(x))` to the output of linear modules.

    Source: LoRA, https://arxiv.org/abs/2106.09685, section 4.1.
    """

    KIND: ClassVar[str] = "low_rank"
    down: Mapping[str, Tensor]
    """LoRA's A by module: (rank, in_features)."""
    up: Mapping[str, Tensor]
    """LoRA's B by module: (out_features, rank)."""
    scale: float = 1.0
    """LoRA's alpha / rank."""
    invocation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.down or self.down.keys() != self.up.keys():
            raise InvalidInputError("a low-rank adapter needs both tensors of at least one module: write it anew")
        if not isfinite(self.scale):
            raise InvalidInputError(f"scale of a low-rank adapter is {self.scale}: give a finite number")
        for name, one in self.down.items():
            other = self.up[name]
            if one.ndim != 2 or other.ndim != 2 or one.shape[0] != other.shape[1] or not 1 <= one.shape[0] <= MAX_RANK:
                shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
                raise InvalidInputError(f"tensors of {name[:80]!r} have shapes {shapes}: give (rank, in), (out, rank)")
            if not (one.is_floating_point() and other.is_floating_point()):
                dtypes = f"{one.dtype} and {other.dtype}"
                raise InvalidInputError(f"tensors of {name[:80]!r} are {dtypes}: give floating-point numbers")

    @property
    def targets(self) -> tuple[str, ...]:
        """The linear modules."""
        return tuple(self.down)

    def rank(self, target: str) -> int:
        """Return the rank of the update of a module."""
        return self.down[target].shape[0]

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with the update added."""
        down, up = self.down[target], self.up[target]
        return output + torch.nn.functional.linear(torch.nn.functional.linear(inputs, down), up * self.scale)

    def delta(self, target: str) -> Tensor:
        """Return the update of a module's weight: (out_features, in_features)."""
        return self.scale * (self.up[target] @ self.down[target])

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the modules whose weights have another shape than the update."""
        shapes = {name: (self.up[name].shape[0], one.shape[1]) for name, one in self.down.items()}
        return other_shapes(self.targets, lambda target: sizes.weights[target] == shapes[target])

    def tensors(self) -> dict[str, Tensor]:
        """Return both tensors of every module, as `<module>.down` and `<module>.up`."""
        pairs = {f"{name}.down": one for name, one in self.down.items()}
        return pairs | {f"{name}.up": one for name, one in self.up.items()}

    def settings(self) -> dict[str, Any]:
        """Return scale and invocation."""
        return {"scale": self.scale, "invocation": list(self.invocation)}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        check_settings(cls.KIND, settings, {"scale": float})
        names = sorted({name.rpartition(".")[0] for name in tensors})
        check_names(cls.KIND, tensors, [f"{name}.{part}" for name in names for part in ("down", "up")])
        down, up = ({name: tensors[f"{name}.{part}"] for name in names} for part in ("down", "up"))
        return cls(down, up, float(settings["scale"]), tuple(settings.get("invocation", ())))
