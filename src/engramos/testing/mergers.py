"""What every merger must keep to: run `check_merger` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.parametric.mergers.cat import Cat
    >>> check_merger(Cat())
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from engramos.errors import EngramosError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers.base import Merger

SHAPES = {"layers.0.q_proj": (6, 9), "layers.0.down_proj": (9, 14), "layers.1.q_proj": (6, 9)}
"""Modules, and out and in features of each."""

Check = Callable[[Merger], None]


def check_merger(merger: Merger) -> None:
    """Run every check over a merger."""
    for check in CHECKS:
        check(merger)


def some_adapter(
    seed: int = 0,
    rank: int = 2,
    targets: Sequence[str] = tuple(SHAPES),
    *,
    scale: float = 2.0,
    invocation: tuple[int, ...] = (),
    dtype: torch.dtype = torch.float32,
) -> LowRank:
    """Return a random adapter at some of the modules of `SHAPES`."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(dtype)

    down = {target: drawn(rank, SHAPES[target][1]) for target in targets}
    up = {target: drawn(SHAPES[target][0], rank) for target in targets}
    return LowRank(down, up, scale, invocation)


def check_every_module_is_there_in_its_shape(merger: Merger) -> None:
    """The merged adapter acts where any of the given ones does, with finite numbers, whatever their ranks."""
    first, second = list(SHAPES)[:2], list(SHAPES)[1:]
    for ranks in ((1, 1), (2, 3), (4, 1), (12, 12)):
        merged = merger.merge([some_adapter(0, ranks[0], first), some_adapter(1, ranks[1], second)], [1.0, 0.5])
        assert set(merged.targets) == set(SHAPES), ranks
        for target, shape in SHAPES.items():
            assert merged.delta(target).shape == shape, (ranks, target)
            assert bool(torch.isfinite(merged.delta(target)).all()), (ranks, target)


def check_one_adapter_can_be_merged(merger: Merger) -> None:
    """One adapter alone gives an update of its size; one of weight 0 beside it gives none."""
    first, second = list(SHAPES)[:2], list(SHAPES)[2:]
    one = some_adapter(0, targets=first)
    found = merger.merge([one])
    for target in first:
        assert 0.1 < float(found.delta(target).norm() / one.delta(target).norm()) < 10, target
    silent = merger.merge([one, some_adapter(1, targets=second)], [1.0, 0.0])
    for target in second:
        assert float(silent.delta(target).abs().max()) == 0, target


def check_what_is_given_stays_as_it_was(merger: Merger) -> None:
    """No tensor of a given adapter is changed, or lent to the merged one, even if gradients are asked of it."""
    given = [some_adapter(0), some_adapter(1, 3)]
    for one in given:
        for tensor in one.tensors().values():
            tensor.requires_grad_()
    before = [one.digest for one in given]
    merged = merger.merge(given, [1.0, 1.0])
    addresses = {tensor.data_ptr() for one in given for tensor in one.tensors().values()}
    for name, tensor in merged.tensors().items():
        assert not tensor.requires_grad, name
        assert tensor.data_ptr() not in addresses, name
        with torch.no_grad():
            tensor.zero_()
    assert [one.digest for one in given] == before


def check_the_same_comes_twice(merger: Merger) -> None:
    """The same adapters and weights give the same adapter, bit for bit; global random numbers play no part."""
    state, digests = torch.random.get_rng_state(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        digests.append(merger.merge([some_adapter(0), some_adapter(1, 3)], [0.3, 0.7]).digest)
    torch.random.set_rng_state(state)
    assert digests[0] == digests[1]


def check_weights_are_1_where_none_are_given(merger: Merger) -> None:
    """No weights, and weights of 1, are the same."""
    given = [some_adapter(0), some_adapter(1), some_adapter(2)]
    assert merger.merge(given).digest == merger.merge(given, [1.0, 1.0, 1.0]).digest


def check_an_invocation_is_kept(merger: Merger) -> None:
    """Adapters of one invocation give an adapter of that invocation; others cannot be merged."""
    one, other = some_adapter(0, invocation=(5, 6)), some_adapter(1, invocation=(5, 6))
    assert merger.merge([one, other]).invocation == (5, 6)
    _refused(UnsupportedError, "two invocations", merger, [one, some_adapter(1, invocation=(6, 5))])
    _refused(UnsupportedError, "one without invocation", merger, [one, some_adapter(1)])


def check_narrow_dtypes_are_merged(merger: Merger) -> None:
    """Adapters of 16 bits are merged in at least 32, alone and with wider ones; those of 64 bits keep them."""
    for dtype, wanted in ((torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64,) * 2):
        merged = merger.merge([some_adapter(0, dtype=dtype), some_adapter(1)])
        assert {tensor.dtype for tensor in merged.tensors().values()} == {wanted}, dtype


def check_what_cannot_be_merged_is_refused(merger: Merger) -> None:
    """Nothing to merge, weights or shapes that do not fit, and numbers that are not finite are refused."""
    one = some_adapter()
    _refused(InvalidInputError, "no adapter", merger, [])
    _refused(InvalidInputError, "too few weights", merger, [one, one], [1.0])
    _refused(InvalidInputError, "too many weights", merger, [one], [1.0, 1.0])
    for weight in (float("nan"), float("inf")):
        _refused(InvalidInputError, f"a weight of {weight}", merger, [one], [weight])
    target = next(iter(SHAPES))
    wide = LowRank({target: torch.ones(2, 10)}, {target: torch.ones(6, 2)})
    _refused(InvalidInputError, "modules of two widths", merger, [one, wide])
    for number in (float("nan"), float("inf")):
        broken = LowRank({target: torch.full((2, 9), number)}, {target: torch.ones(6, 2)})
        _refused(InvalidInputError, f"an adapter with {number}", merger, [one, broken])


def _refused(error: type[EngramosError], what: str, merger: Merger, *given: Any) -> None:
    try:
        merger.merge(*given)
    except error:
        return
    raise AssertionError(f"{what} was merged")


CHECKS: tuple[Check, ...] = (
    check_every_module_is_there_in_its_shape,
    check_one_adapter_can_be_merged,
    check_what_is_given_stays_as_it_was,
    check_the_same_comes_twice,
    check_weights_are_1_where_none_are_given,
    check_an_invocation_is_kept,
    check_narrow_dtypes_are_merged,
    check_what_cannot_be_merged_is_refused,
)
"""All promises."""
__all__ = ["CHECKS", "check_merger", "some_adapter"]
