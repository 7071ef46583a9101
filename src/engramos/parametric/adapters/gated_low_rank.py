"""Low-rank updates of linear modules whose directions are silent below a reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings
from engramos.parametric.adapters.low_rank import LowRank


@dataclass(frozen=True, slots=True, eq=False)
class GatedLowRank(Adapter):
    """Adds `up_i * (down_i . x)` to the output of linear modules, for the directions i that read at least the gate.

    Directions are scaled so that each reads 1 at the key that it was written for. A token of which every direction
    reads less gets the output of the module bit for bit, so many such updates do not add up to noise on other texts.

    Source: ROME, https://arxiv.org/abs/2202.05262, section 3.1, for the update.
    Differs: the gate is ours. Related are the balls around the keys of GRACE, https://arxiv.org/abs/2211.11031, which
    replace a hidden state, and the distance of WISE, https://arxiv.org/abs/2405.14768, which looks at the output.
    """

    KIND: ClassVar[str] = "gated_low_rank"
    down: Mapping[str, Tensor]
    """By module, the directions: (rank, in_features)."""
    up: Mapping[str, Tensor]
    """By module, what each direction adds where it reads 1: (out_features, rank)."""
    gate: float
    """The least reading at which a direction acts, from 0 to below 1."""
    invocation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        LowRank(self.down, self.up)
        if not 0.0 <= self.gate < 1.0:
            raise InvalidInputError(f"gate of a gated low-rank adapter is {self.gate}: give a number from 0 to below 1")

    @property
    def targets(self) -> tuple[str, ...]:
        """The linear modules."""
        return tuple(self.down)

    @property
    def ungated(self) -> LowRank:
        """The same update without the gate: what it adds where all directions act."""
        return LowRank(self.down, self.up, 1.0, self.invocation)

    def rank(self, target: str) -> int:
        """Return the rank of the update of a module."""
        return self.down[target].shape[0]

    def readings(self, target: str, inputs: Tensor) -> Tensor:
        """Return what each direction reads: (..., rank), of inputs (..., in_features)."""
        return torch.nn.functional.linear(inputs, self.down[target].to(inputs))

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with the update added on the tokens that a direction reads strongly enough."""
        read = self.readings(target, inputs)
        acts = read >= self.gate
        step = torch.nn.functional.linear(torch.where(acts, read, 0.0), self.up[target].to(output))
        # adding a step of zeros would turn -0.0 into 0.0
        return torch.where(acts.any(dim=-1, keepdim=True), output + step, output)

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the modules whose weights have another shape than the update."""
        return self.ungated.misfits(sizes)

    def tensors(self) -> dict[str, Tensor]:
        """Return both tensors of every module, as `<module>.down` and `<module>.up`."""
        return self.ungated.tensors()

    def settings(self) -> dict[str, Any]:
        """Return gate and invocation."""
        return {"gate": self.gate, "invocation": list(self.invocation)}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        check_settings(cls.KIND, settings, {"gate": float})
        names = sorted({name.rpartition(".")[0] for name in tensors})
        check_names(cls.KIND, tensors, [f"{name}.{part}" for name in names for part in ("down", "up")])
        down, up = ({name: tensors[f"{name}.{part}"] for name in names} for part in ("down", "up"))
        return cls(down, up, float(settings["gate"]), tuple(settings.get("invocation", ())))
