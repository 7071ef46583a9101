"""Adam over the tensors of virtual tokens, and their keys and values at the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import ModelError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.prefix import VirtualTokens
from engramos.parametric.model import BaseModel, Prefix

TOLERANCE = 1e-2
"""How far hidden states after the stored keys and values may be from those in training, as a share of their size."""


@dataclass(frozen=True, slots=True, eq=False)
class _StandIn(Adapter):
    """Gives virtual tokens where the base model would embed others. It lives for one pass and is never stored."""

    KIND: ClassVar[str] = "stand_in"
    name: str
    virtual: Tensor

    @property
    def targets(self) -> tuple[str, ...]:
        """The embedding."""
        return (self.name,)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the virtual tokens."""
        return self.virtual.to(output).expand_as(output)

    def tensors(self) -> dict[str, Tensor]:
        """Return the virtual tokens."""
        return {"virtual": self.virtual}

    def settings(self) -> dict[str, Any]:
        """Return the target."""
        return {"name": self.name}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return one of a tensor and a target."""
        return cls(settings["name"], tensors["virtual"])


@torch.no_grad()
def read_as_prefix(base: BaseModel, virtual: Tensor) -> Prefix:
    """Return keys and values of virtual tokens in all layers, as the base model reads them.

    Args:
        base: the model.
        virtual: as the first layer reads them: (tokens, hidden).

    Raises:
        UnsupportedError: if what follows them then reads something else than in training.
    """
    name = f"{base.layer_name(0).rpartition('.layers.')[0]}.embed_tokens"
    with base.using(_StandIn(name, virtual)):
        prefix = base.prefix_of([0] * virtual.shape[0])
    probe = base.embedded(torch.zeros(1, 2, dtype=torch.int64, device=virtual.device))
    expected = base.run(torch.cat([virtual[None].to(probe), probe], dim=1))[:, -2:].float()
    found = base.run(probe, prefix=prefix).float()
    if float((found - expected).norm()) > TOLERANCE * float(expected.norm()):
        raise UnsupportedError(
            f"the base model does not read virtual tokens in the place of {name!r}: use the writer cartridge"
        )
    return prefix


def stored(prefix: Prefix) -> VirtualTokens:
    """Return a trained prefix as an adapter, without gradients.

    Raises:
        ModelError: if a number is NaN or infinite.
    """
    for layer, one in prefix.keys.items():
        if not bool(torch.isfinite(one).all() and torch.isfinite(prefix.values[layer]).all()):
            raise ModelError(f"training gave numbers that are not finite in layer {layer}: use a lower rate")
    keys, values = (
        {layer: one.detach().clone().contiguous() for layer, one in part.items()}
        for part in (prefix.keys, prefix.values)
    )
    return VirtualTokens(keys, values)


def adam(tensors: Mapping[str, Tensor], rate: float) -> torch.optim.Adam:
    """Return Adam whose step for each tensor is a share of that tensor's root mean square."""
    sizes = {name: float(one.detach().float().square().mean().sqrt()) for name, one in tensors.items()}
    return torch.optim.Adam([{"params": [one], "lr": rate * sizes[name]} for name, one in tensors.items()])


def stepped(optimizer: torch.optim.Adam, loss: Tensor) -> None:
    """Take one step down a loss.

    Raises:
        ModelError: if the loss is not finite.
    """
    if not bool(torch.isfinite(loss)):
        raise ModelError("training virtual tokens gave a loss that is not finite: use a lower rate")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
