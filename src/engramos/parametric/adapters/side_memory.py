"""A side copy of one linear module, used on the tokens that it was written for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings, other_shapes

MAX_WEIGHTS = 2**28
"""Of the module: its side copy is laid out whole, 1 GiB of float32 at most. It is the size of a 70-billion-weight
model's largest linear module."""


@dataclass(frozen=True, slots=True, eq=False)
class SideMemory(Adapter):
    """Gives a token what the side copy makes of it, where that lies far enough from the main output.

    The side copy is stored as its differences from the main weight, and only where there are any.

    Source: WISE, https://arxiv.org/abs/2405.14768, section 2.3.1.
    Differs: each token is routed by its own distance, where the paper routes a whole prompt; sparse.
    """

    KIND: ClassVar[str] = "side_memory"
    target: str
    """The linear module."""
    places: Tensor
    """Which weights differ, as row * in_features + column, rising: (differences,) int64."""
    differences: Tensor
    """Side weight less main weight: (differences,)."""
    shape: tuple[int, int]
    """Of the weight: (out_features, in_features)."""
    threshold: float
    """The side copy is used where the two outputs lie at least so far apart; 0 or more, 0 for everywhere."""
    invocation: tuple[int, ...] = ()
    _dense: Tensor | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = self.shape[0] * self.shape[1]
        if min(self.shape) < 1 or size > MAX_WEIGHTS:
            raise InvalidInputError(
                f"a side memory cannot be of the shape {self.shape}: a module may have 1 to {MAX_WEIGHTS} weights"
            )
        if not self.differences.is_floating_point():
            raise InvalidInputError(f"differences of a side memory are {self.differences.dtype}: write it anew")
        if self.places.ndim != 1 or self.places.dtype != torch.int64 or self.places.shape != self.differences.shape:
            raise InvalidInputError("places and differences of a side memory do not fit each other: write it anew")
        if not (self.places.diff() > 0).all() or (
            len(self.places) and not 0 <= self.places[0] <= self.places[-1] < size
        ):
            raise InvalidInputError(f"places of a side memory do not rise from 0 to {size - 1}: write it anew")
        if not (isfinite(self.threshold) and self.threshold >= 0):
            raise InvalidInputError(f"threshold of a side memory is {self.threshold}: give a number, 0 or more")
        # while it is trained the dense form must be made anew in each pass, or gradients would find a used graph
        object.__setattr__(self, "_dense", None if self.differences.requires_grad else self.delta())

    @property
    def targets(self) -> tuple[str, ...]:
        """The one linear module."""
        return (self.target,)

    def delta(self) -> Tensor:
        """Return the side weight less the main weight: (out_features, in_features)."""
        flat = self.differences.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_put((self.places,), self.differences).view(self.shape)

    def step(self, inputs: Tensor) -> Tensor:
        """Return the side output less the main output: (..., out_features), of inputs (..., in_features)."""
        delta = self.delta() if self._dense is None else self._dense
        return torch.nn.functional.linear(inputs, delta.to(inputs))

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the side output where it lies far enough from the main output."""
        step = self.step(inputs)
        is_far = torch.linalg.vector_norm(step, dim=-1, keepdim=True) >= self.threshold
        return torch.where(is_far, output + step, output)

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the module where its weight has another shape than the side copy."""
        return other_shapes(self.targets, lambda target: sizes.weights[target] == tuple(self.shape))

    def tensors(self) -> dict[str, Tensor]:
        """Return places and differences."""
        return {"places": self.places, "differences": self.differences}

    def settings(self) -> dict[str, Any]:
        """Return target, shape, threshold and invocation."""
        return {
            "target": self.target,
            "shape": list(self.shape),
            "threshold": self.threshold,
            "invocation": list(self.invocation),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        check_names(cls.KIND, tensors, ("places", "differences"))
        check_settings(cls.KIND, settings, {"target": str, "shape": list, "threshold": float})
        if len(settings["shape"]) != 2 or not all(type(size) is int for size in settings["shape"]):
            raise InvalidInputError("the shape of a side memory is not two numbers: write it anew")
        out_features, in_features = settings["shape"]
        return cls(
            str(settings["target"]),
            tensors["places"],
            tensors["differences"],
            (out_features, in_features),
            float(settings["threshold"]),
            tuple(settings.get("invocation", ())),
        )
