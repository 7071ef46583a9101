"""What every sort of adapter must keep to: run `check_adapter` over one, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> import torch
    >>> from engramos.parametric.adapters.low_rank import LowRank
    >>> adapter = LowRank({"layers.0": torch.ones(2, 8)}, {"layers.0": torch.ones(6, 2)})
    >>> check_adapter(adapter, {"layers.0": (6, 8)})
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter

Shapes = Mapping[str, tuple[int, int]]
"""Of each target of an adapter, how many features its module gives and how many it reads."""
Check = Callable[[Adapter, Shapes], None]


def check_adapter(adapter: Adapter, shapes: Shapes) -> None:
    """Run every check over an adapter.

    Args:
        adapter: any, of float32, with no tensor empty.
        shapes: out and in features of each of its targets.
    """
    for check in CHECKS:
        check(adapter, shapes)


def signals(out_features: int, in_features: int, num_rows: int = 2, num_tokens: int = 5) -> tuple[Tensor, Tensor]:
    """Return what a module reads and what it makes of that: (rows, tokens, features) each."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn((num_rows, num_tokens, in_features), generator=random)
    return inputs, torch.randn((num_rows, num_tokens, out_features), generator=random)


def check_it_comes_back_from_what_is_stored(adapter: Adapter, shapes: Shapes) -> None:
    """Tensors, and settings gone through JSON, give an adapter that is and does the same."""
    back = _again(adapter, adapter.tensors())
    assert type(back) is type(adapter)
    assert (back.KIND, back.targets, back.invocation) == (adapter.KIND, adapter.targets, adapter.invocation)
    assert back.digest == adapter.digest
    assert back.settings() == adapter.settings()
    mine, theirs = adapter.tensors(), back.tensors()
    assert mine.keys() == theirs.keys()
    for name, one in mine.items():
        assert one.dtype == theirs[name].dtype, name
        assert torch.equal(one, theirs[name]), name
    for target, shape in shapes.items():
        given = signals(*shape)
        assert torch.equal(back.change(target, *given), adapter.change(target, *given)), target


def check_it_is_described(adapter: Adapter, shapes: Shapes) -> None:
    """It names its kind and its targets, and counts its bytes; only the same object is equal to it."""
    assert adapter.KIND
    assert type(adapter).__module__.rpartition(".")[2] == adapter.KIND
    assert set(adapter.targets) == set(shapes)
    assert len(set(adapter.targets)) == len(adapter.targets)
    assert adapter.num_bytes == sum(one.nbytes for one in adapter.tensors().values()) > 0
    back = _again(adapter, adapter.tensors())
    assert adapter == adapter
    assert adapter != back
    assert len({adapter, back}) == 2


def check_any_bit_changes_the_digest(adapter: Adapter, shapes: Shapes) -> None:
    """The same adapter has the same digest; one bit of one tensor, or another invocation, gives another."""
    digest, copies = adapter.digest, {name: one.clone() for name, one in adapter.tensors().items()}
    assert adapter.digest == digest
    assert _again(adapter, copies).digest == digest
    for name, one in copies.items():
        for place in {0, one.nbytes // 2, one.nbytes - 1}:
            flipped = one.detach().clone()
            flipped.view(-1).view(torch.uint8)[place] ^= 1
            _refused_or_other(adapter, copies | {name: flipped}, adapter.settings(), f"a bit of {name}")
    _refused_or_other(adapter, copies, {**adapter.settings(), "invocation": [7, 8, 9]}, "another invocation")


def check_wrong_tensors_are_refused(adapter: Adapter, shapes: Shapes) -> None:
    """Tensors that are missing, unknown or of another number of axes are an `InvalidInputError`."""
    for lie, tensors in _lies(adapter.tensors()):
        try:
            type(adapter).restored(tensors, adapter.settings())
        except InvalidInputError:
            continue
        raise AssertionError(f"{lie} was believed")


def check_change_leaves_what_it_is_given(adapter: Adapter, shapes: Shapes) -> None:
    """Neither inputs nor output nor its own tensors are written to; the same comes twice; what comes is finite."""
    digest = adapter.digest
    for target, shape in shapes.items():
        inputs, output = signals(*shape)
        before = inputs.clone(), output.clone()
        found = adapter.change(target, inputs, output)
        assert found.shape == output.shape, target
        assert found.dtype == output.dtype, target
        assert bool(torch.isfinite(found).all()), target
        assert torch.equal(inputs, before[0]), target
        assert torch.equal(output, before[1]), target
        assert torch.equal(adapter.change(target, inputs, output), found), target
    assert adapter.digest == digest


def check_rows_do_not_touch_each_other(adapter: Adapter, shapes: Shapes) -> None:
    """A row in a batch gets what it gets alone, and a token what it gets without those after it."""
    for target, shape in shapes.items():
        inputs, output = signals(*shape, num_rows=3)
        together = adapter.change(target, inputs, output)
        for row in range(3):
            alone = adapter.change(target, inputs[row : row + 1], output[row : row + 1])
            assert torch.allclose(alone, together[row : row + 1], atol=1e-5), (target, row)
        shorter = adapter.change(target, inputs[:, :2], output[:, :2])
        assert torch.allclose(shorter, together[:, :2], atol=1e-5), target


def check_gradients_pass(adapter: Adapter, shapes: Shapes) -> None:
    """What lies before a target can still be trained while the adapter is attached."""
    for target, shape in shapes.items():
        inputs, output = (one.requires_grad_() for one in signals(*shape))
        adapter.change(target, inputs, output).square().sum().backward()
        grads = [one.grad for one in (inputs, output) if one.grad is not None]
        assert grads, target
        assert all(bool(torch.isfinite(one).all()) for one in grads), target


def _again(adapter: Adapter, tensors: Mapping[str, Tensor]) -> Adapter:
    return type(adapter).restored(tensors, json.loads(json.dumps(adapter.settings(), allow_nan=False)))


def _refused_or_other(adapter: Adapter, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], what: str) -> None:
    try:
        found = type(adapter).restored(tensors, settings)
    except InvalidInputError:
        return
    # a kind without invocation may leave one out; the reader of files sees that its settings differ
    if found.settings() != adapter.settings() or "invocation" not in what:
        assert found.digest != adapter.digest, what


def _lies(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield tensors that cannot be true, each with what is wrong."""
    yield "no tensor at all", {}
    yield "an unknown tensor", {**tensors, "unknown": torch.zeros(1)}
    for name, one in tensors.items():
        others = {key: value for key, value in tensors.items() if key != name}
        yield f"{name} missing", others
        yield f"{name} under another name", {**others, f"{name}s": one}
        yield f"{name} with an axis more", {**others, name: one.unsqueeze(0)}
        if one.ndim > 1:
            yield f"{name} flat", {**others, name: one.flatten()}


CHECKS: tuple[Check, ...] = (
    check_it_comes_back_from_what_is_stored,
    check_it_is_described,
    check_any_bit_changes_the_digest,
    check_wrong_tensors_are_refused,
    check_change_leaves_what_it_is_given,
    check_rows_do_not_touch_each_other,
    check_gradients_pass,
)
"""All promises."""
__all__ = ["CHECKS", "check_adapter", "signals"]
