"""LoRA-FA: A stays as it was drawn, so that the wide inputs of adapted modules need not be kept for the gradients."""

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank

DAMPING = 1e-8
"""Added to A A^T, as a share of its mean diagonal: so that its inverse exists where rows of A depend on each other."""


def frozen(adapter: LowRank) -> list[Tensor]:
    """Let A of every module ask for no gradient any more, and return all B, which alone are trained.

    Source: LoRA-FA, https://arxiv.org/abs/2308.03303. While A is frozen, autograd keeps the rank-sized product of A
    and the input, and not the input.

    Raises:
        InvalidInputError: if a tensor is no leaf, as the result of a computation is none.
    """
    for name, one in adapter.tensors().items():
        if not one.is_leaf:
            raise InvalidInputError(f"the tensor {name[:80]!r} is computed from others: detach it before it is trained")
    for one in adapter.down.values():
        one.requires_grad_(False)
    return [one.requires_grad_() for one in adapter.up.values()]


@torch.no_grad()
def precondition(adapter: LowRank, *, damping: float = DAMPING) -> None:
    """Turn the gradients of all B into those that change the weights most nearly as their full gradient would.

    With W' = W + s B A, the gradient of B is G = s g A^T, where g is the full gradient of W'. The step D of B that
    minimises the Frobenius norm of s D A - g is D = (1/s^2) G (A A^T)^-1: g itself is never needed. Call it between
    `backward` and the optimizer's step; what has no gradient is left alone. A per-coordinate optimizer such as Adam
    keeps the directions, but not the factor 1/s^2.

    Source: LoRA-FA, https://arxiv.org/abs/2308.03303, version 2 (2026), closed-form gradient correction; also in peft.
    Differs: solved in float64, without an inverse; the damping is relative to A A^T, where peft adds 1e-8 itself.

    Args:
        adapter: whose A are frozen; its B have gradients, which are replaced.
        damping: see `DAMPING`; 0 or more.

    Raises:
        ConfigError: if `damping` is negative.
        InvalidInputError: if the scale is 0, or an A is all zero: then B has no effect, and no gradient.
    """
    if not damping >= 0:
        raise ConfigError(f"damping is {damping}: give 0 or more")
    if adapter.scale == 0:
        raise InvalidInputError("the scale of the adapter is 0, so that its tensors have no effect: give another scale")
    for name, up in adapter.up.items():
        if up.grad is None:
            continue
        down = adapter.down[name].double()
        gram = down @ down.T
        mean = gram.diagonal().mean()
        if mean == 0:
            raise InvalidInputError(f"A of {name[:80]!r} is all zero: draw it before training, as `fresh` does")
        gram.diagonal().add_(damping * mean)
        solved = torch.linalg.solve(gram, up.grad.double().T).T
        up.grad.copy_(solved / adapter.scale**2)
