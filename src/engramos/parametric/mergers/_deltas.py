"""What all mergers share: checked operands, weighted updates of one module, and factors of an update."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.low_rank import MAX_RANK, LowRank

_NOISE = 1e-12
"""Singular values below this share of the operands' length are rounding of float64."""


def check_rank(rank: int) -> None:
    """Refuse a rank that no adapter can have; 0 stands for a default.

    Raises:
        ConfigError: if it is none of 0 to `MAX_RANK`.
    """
    if not 0 <= rank <= MAX_RANK:
        raise ConfigError(f"rank is {rank}: give 1 to {MAX_RANK}, or 0 for the default")


def merged(
    adapters: Sequence[LowRank],
    weights: Sequence[float] | None,
    one: Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, Tensor]],
) -> LowRank:
    """Return the adapter that `one` makes of the operands, module by module, in the order of the modules' names.

    Args:
        adapters: 1 or more.
        weights: one for each; 1 each where None.
        one: from the operands' `down` (rank, in) and `up` (out, rank) at a module, float64, `up` times scale and
            weight, to the merged two. An adapter that does not act at a module is left out there.

    Returns:
        An adapter of scale 1 on the CPU, float32, or float64 where an operand is.

    Raises:
        InvalidInputError: if there are no adapters, or weights or shapes do not fit, or a number is not finite.
        UnsupportedError: if the invocations differ.
    """
    shares = _shares(adapters, weights)
    if len({adapter.invocation for adapter in adapters}) > 1:
        raise UnsupportedError("adapters of different invocations act on different tokens: merge those of one alone")
    wide = any(part.dtype == torch.float64 for adapter in adapters for part in adapter.tensors().values())
    dtype = torch.float64 if wide else torch.float32
    down, up = {}, {}
    for target in sorted({target for adapter in adapters for target in adapter.targets}):
        acting = [pair for pair in zip(adapters, shares, strict=True) if target in pair[0].down]
        if len({(adapter.down[target].shape[1], adapter.up[target].shape[0]) for adapter, _ in acting}) > 1:
            raise InvalidInputError(f"adapters differ in the shape of {target[:80]!r}: merge those of one base model")
        downs = [adapter.down[target].detach().cpu().double() for adapter, _ in acting]
        ups = [adapter.up[target].detach().cpu().double() * (adapter.scale * share) for adapter, share in acting]
        _refuse_infinite(target, *downs, *ups)
        down[target], up[target] = (part.to(dtype).contiguous() for part in one(downs, ups))
        _refuse_infinite(target, down[target], up[target])
    return LowRank(down, up, 1.0, adapters[0].invocation)


def factors_of_sum(downs: Sequence[Tensor], ups: Sequence[Tensor], rank: int = 0) -> tuple[Tensor, Tensor]:
    """Return the sum of `up @ down` in two factors, without ever making the sum itself.

    Two thin orthogonal bases leave a core of (sum of ranks, sum of ranks), whose decomposition is the sum's.

    Args:
        downs: (rank, in) each.
        ups: (out, rank) each.
        rank: keep so many singular values at most; all that are not rounding where 0.
    """
    left, left_core = torch.linalg.qr(torch.cat(tuple(ups), dim=1))
    right, right_core = torch.linalg.qr(torch.cat(tuple(downs)).T)
    inner, values, outer = torch.linalg.svd(left_core @ right_core.T)
    size = values.numel()
    noise = _NOISE * float(left_core.norm() * right_core.norm())
    return _split(left @ inner[:, :size], values, outer[:size] @ right.T, rank, noise)


def factors_of(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the nearest product of two factors to an update; its cost grows with out * in * min(out, in).

    Args:
        delta: (out, in).
        rank: keep so many singular values at most; all that are not rounding where 0.

    Returns:
        `down` (rank, in) and `up` (out, rank).
    """
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    return _split(left, values, right, rank, _NOISE * float(delta.norm()))


def _split(left: Tensor, values: Tensor, right: Tensor, rank: int, noise: float) -> tuple[Tensor, Tensor]:
    kept = max(1, int((values > noise).sum()))
    kept = min(kept, rank or MAX_RANK)
    # both factors alike in length, so that neither overflows or vanishes in a narrow dtype
    roots = values[:kept].sqrt()
    return roots[:, None] * right[:kept], left[:, :kept] * roots


def _refuse_infinite(target: str, *parts: Tensor) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise InvalidInputError(f"a merge at {target[:80]!r} meets NaN or infinity: give sound adapters, less weight")


def _shares(adapters: Sequence[LowRank], weights: Sequence[float] | None) -> list[float]:
    if not adapters:
        raise InvalidInputError("there is no adapter to merge: give 1 or more")
    shares = [1.0] * len(adapters) if weights is None else [float(weight) for weight in weights]
    if len(shares) != len(adapters):
        raise InvalidInputError(f"there are {len(shares)} weights for {len(adapters)} adapters: give one for each")
    for share in shares:
        if not math.isfinite(share):
            raise InvalidInputError(f"a weight of a merge is {share}: give finite numbers")
    return shares
