"""A fresh low-rank adapter to be trained, and the finished one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.errors import ModelError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.model import BaseModel


def fresh(
    base: BaseModel,
    layers: Sequence[int],
    kinds: Sequence[str],
    rank: int,
    *,
    scale: float = 2.0,
    invocation: Sequence[int] = (),
    seed: int = 0,
) -> LowRank:
    """Return an adapter that changes nothing yet, whose tensors ask for gradients.

    A is drawn evenly from -1/sqrt(in) to 1/sqrt(in), and B is zero.

    Args:
        base: the model.
        layers: counted from 0.
        kinds: linear modules of each layer, as in `model.KINDS`.
        rank: 1 or more.
        scale: LoRA's alpha / rank.
        invocation: as in `Adapter`.
        seed: of A.

    Raises:
        UnsupportedError: if a layer has not such a module.
    """
    source = torch.Generator().manual_seed(seed)
    down: dict[str, Tensor] = {}
    up: dict[str, Tensor] = {}
    for name in (base.linear(layer, kind) for layer in layers for kind in kinds):
        weight = base.module(name).weight
        bound = weight.shape[1] ** -0.5
        drawn = (torch.rand(rank, weight.shape[1], generator=source) * 2 - 1) * bound
        down[name] = drawn.to(weight.device).requires_grad_()
        up[name] = torch.zeros(weight.shape[0], rank, device=weight.device).requires_grad_()
    return LowRank(down, up, scale, tuple(invocation))


def finished(adapter: LowRank) -> LowRank:
    """Return a trained adapter without gradients.

    Raises:
        ModelError: if a number is NaN or infinite.
    """
    for name, tensor in adapter.tensors().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"training gave numbers that are not finite in {name!r}: use a lower learning rate")
    down = {name: one.detach().clone() for name, one in adapter.down.items()}
    up = {name: one.detach().clone() for name, one in adapter.up.items()}
    return LowRank(down, up, adapter.scale, adapter.invocation)
