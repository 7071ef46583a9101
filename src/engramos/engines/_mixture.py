"""Adapters on a model: for one block of passes, each row of a batch with its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engramos.engines._shapes import layer_shapes, text_config
from engramos.errors import InvalidInputError, ModelMismatchError
from engramos.parametric.adapter import Adapter, Sizes, starts_at
from engramos.parametric.adapters.low_rank import LowRank

NEVER = 2**62
"""The start of an adapter whose invocation does not occur."""
Change = Callable[[Tensor, Tensor], Tensor]
"""From what a module read and gave to what it gives now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fused:
    """The low-rank adapters of one module side by side: one product for all rows, masked between the two factors."""

    numbers: tuple[int, ...]
    """Which of the mixture's adapters."""
    ranks: tuple[int, ...]
    down: Tensor
    """(all ranks, in_features)."""
    up: Tensor
    """(all ranks, out_features), scaled."""

    def change(self, inputs: Tensor, output: Tensor, active: Tensor | None) -> Tensor:
        low = torch.nn.functional.linear(inputs, self.down)
        if active is not None:
            parts = [active[..., n : n + 1].expand(*active.shape[:2], r) for n, r in self._columns()]
            low = low * torch.cat(parts, dim=-1)
        return torch.addmm(output.flatten(0, -2), low.flatten(0, -2), self.up).view_as(output)

    def _columns(self) -> Iterator[tuple[int, int]]:
        return zip(self.numbers, self.ranks, strict=True)


class Mixture:
    """The adapters of the rows of a batch, prepared once.

    Every row may have none, one, or several; what a row does not have changes nothing of it, bit for bit.
    """

    def __init__(self, model: Any, rows: Sequence[Sequence[Adapter]]) -> None:
        """Prepare the adapters of each row.

        Args:
            model: a model of transformers.
            rows: the adapters of each row, in their order.
        """
        self._model = model
        self.adapters: tuple[Adapter, ...] = tuple(dict.fromkeys(one for row in rows for one in row))
        numbers = {one: number for number, one in enumerate(self.adapters)}
        self.device = model.device
        self._has = torch.zeros(len(rows), len(self.adapters), dtype=torch.bool)
        for row, ones in enumerate(rows):
            for one in ones:
                self._has[row, numbers[one]] = True
        self._has = self._has.to(self.device)
        self._low_rank = _fused_by_target(self.adapters, model)

    @contextmanager
    def passing(self, positions: Tensor, starts: Tensor, rows: Sequence[int] | None = None) -> Iterator[None]:
        """Let the adapters act in the passes of a block.

        Args:
            positions: of the tokens that are read: (rows, tokens) int64; (tokens,) for one row.
            starts: (all rows, adapters) int64: from which position on each acts.
            rows: which rows the pass has; all where None.
        """
        if not self.adapters:
            yield
            return
        chosen = slice(None) if rows is None else list(rows)
        places = positions if positions.ndim == 2 else positions[None]
        active = self._has[chosen][:, None, :] & (places[..., None] >= starts[chosen][:, None, :])
        mask = None if bool(active.all()) else active
        with ExitStack() as stack:
            for target, changes in self._changes(mask).items():
                stack.enter_context(hooked(self._model, target, changes))
            yield

    def _changes(self, active: Tensor | None) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = {}
        for target, fused in self._low_rank.items():
            found.setdefault(target, []).append(
                lambda x, y, fused=fused: fused.change(x, y, _newest(active, x, fused.down.dtype))
            )
        for number, adapter in enumerate(self.adapters):
            if not isinstance(adapter, LowRank):
                own = None if active is None else active[..., number]
                for target in adapter.targets:
                    found.setdefault(target, []).append(change_of(adapter, target, own))
        return found


def change_of(adapter: Adapter, target: str, active: Tensor | None) -> Change:
    """Return what an adapter does at a module, where it is active: (rows, tokens) bool; everywhere where None."""

    def change(inputs: Tensor, output: Tensor) -> Tensor:
        changed = adapter.change(target, inputs, output)
        mask = _newest(active, inputs, torch.bool)
        return changed if mask is None else torch.where(mask[..., None], changed, output)

    return change


def _newest(active: Tensor | None, inputs: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Return the mask of the tokens that a module reads: the last ones where it does not read all."""
    if active is None or inputs.shape[0] != active.shape[0] or inputs.shape[1] > active.shape[1]:
        return None
    return active[:, -inputs.shape[1] :].to(dtype)


def _fused_by_target(adapters: Sequence[Adapter], model: Any) -> dict[str, _Fused]:
    low_rank = [(number, one) for number, one in enumerate(adapters) if isinstance(one, LowRank)]
    targets = dict.fromkeys(target for _, one in low_rank for target in one.targets)
    found = {}
    for target in targets:
        ones = [(number, one) for number, one in low_rank if target in one.down]
        like = model.get_submodule(target).weight
        down = torch.cat([one.down[target] for _, one in ones])
        up = torch.cat([one.up[target].T * one.scale for _, one in ones])
        numbers, ranks = tuple(number for number, _ in ones), tuple(one.rank(target) for _, one in ones)
        found[target] = _Fused(numbers, ranks, down.to(like), up.to(like))
    return found


@contextmanager
def hooked(model: Any, target: str, changes: Sequence[Change]) -> Iterator[None]:
    """Let a module give what the changes make of its output, one after the other; the module itself is not touched."""
    handle = hook(model, target, changes)
    try:
        yield
    finally:
        handle.remove()


def hook(model: Any, target: str, changes: Sequence[Change]) -> Any:
    """Do as `hooked`, until the returned handle is removed.

    Raises:
        InvalidInputError: if the model has no such module.
    """

    def act(module: Any, arguments: tuple[Any, ...], output: Any) -> Any:
        for change in changes:
            output = change(arguments[0], output)
        return output

    return module_of(model, target).register_forward_hook(act)


def module_of(model: Any, name: str) -> Any:
    """Return a module by its name.

    Raises:
        InvalidInputError: if the model has none such.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise InvalidInputError(
            f"the base model has no module {name[:80]!r}: write the adapter for this model"
        ) from error


def check_fits(model: Any, adapter: Adapter, what: str) -> None:
    """Refuse an adapter that does not fit a model.

    Raises:
        InvalidInputError: if a target is none of the model's modules, or a number is NaN or infinite.
        ModelMismatchError: if its tensors have another shape than the model needs.
    """
    for target in adapter.targets:
        module_of(model, target)
    for name, tensor in adapter.tensors().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InvalidInputError(f"{what} holds numbers that are not finite in {name[:80]!r}: write it anew")
    if differing := adapter.misfits(_sizes(model, adapter.targets)):
        raise ModelMismatchError(what, differing)


def _sizes(model: Any, targets: Sequence[str]) -> Sizes:
    """Return what adapters at these modules must fit."""
    weights = {target: getattr(module_of(model, target), "weight", None) for target in targets}
    shapes = {target: () if one is None else tuple(one.shape) for target, one in weights.items()}
    caches = [(layer.kv_heads, layer.head_dim) for layer in layer_shapes(model)]
    return Sizes(text_config(model).hidden_size, shapes, caches)


def starts_in(mixture: Mixture, before: Sequence[int], token_ids: Sequence[int], position: int) -> Tensor:
    """Return from which position on each adapter of one sequence acts: (1, adapters) int64.

    Args:
        mixture: of one row.
        before: tokens that were read before, as far as they are known.
        token_ids: tokens that are read now.
        position: of the first of them.
    """
    history = [*before, *token_ids]
    offset = position + len(token_ids) - len(history)
    return torch.tensor([[start_of(one, history, offset) for one in mixture.adapters]], device=mixture.device)


def start_of(adapter: Adapter, token_ids: Sequence[int], offset: int = 0) -> int:
    """Return from which position on an adapter acts on tokens whose first stands at `offset`."""
    at = starts_at(adapter.invocation, token_ids)
    return NEVER if adapter.invocation and at == len(token_ids) else at + offset if adapter.invocation else 0
