"""Which attention heads speak for the weights and which for the context, found by muting them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.head_scaling import HeadScaling
from engramos.parametric.model import BaseModel

SIDES = ("context", "weights")
"""Whom heads can be scaled for."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A question that weights and context answer differently.

    Raises:
        InvalidInputError: if a text is empty, or both answers are the same.
    """

    question: str
    context: str
    """Stands in the prompt and says the answer of the context."""
    of_weights: str
    """What the model answers without the context."""
    of_context: str

    def __post_init__(self) -> None:
        for name in ("question", "context", "of_weights", "of_context"):
            if not getattr(self, name).strip():
                raise InvalidInputError(f"{name} of a conflict is empty: give a text")
        if self.of_weights.strip().casefold() == self.of_context.strip().casefold():
            raise InvalidInputError(f"weights and context both answer {self.question[:60]!r} the same: no conflict")


@dataclass(frozen=True, slots=True)
class HeadEffect:
    """What muting one head does to the conflicts."""

    layer: int
    head: int
    effects: tuple[float, ...]
    """Of each conflict: how much the margin of the weights' answer falls, in nats.

    The margin is log p(answer of the weights) - log p(answer of the context). Over 0: the head speaks for the weights.
    """

    @property
    def mean(self) -> float:
        """The mean effect, in nats."""
        return sum(self.effects) / len(self.effects)

    @property
    def stability(self) -> float:
        """The share of conflicts in which the head speaks for the side that it speaks for on the whole."""
        return sum(one * self.mean > 0 for one in self.effects) / len(self.effects)


@torch.no_grad()
def margins(base: BaseModel, conflicts: Sequence[Conflict], adapters: Sequence[Adapter] = ()) -> list[float]:
    """Return the margin of the weights' answer in each conflict, in nats; the context stands in the prompt.

    Args:
        base: the model.
        conflicts: 1 or more.
        adapters: attached together, on every token.
    """
    rows = _Rows(base, conflicts)
    with base.using(list(adapters)):
        return rows.margins(base.run(base.embedded(rows.ids))).tolist()


def score_heads(
    base: BaseModel,
    conflicts: Sequence[Conflict],
    *,
    adapter: Adapter | None = None,
    layers: int = 10,
    tested: int = 24,
) -> list[HeadEffect]:
    """Return what muting heads does to conflicts, the largest mean effect first.

    One backward pass tells of every head how the margins change with its scale; the most promising are then muted in
    earnest, each in a pass of its own from its layer on.

    Source: PH3, https://arxiv.org/abs/2402.18154 (heads of the late layers, opposite effects); JUICE,
    https://arxiv.org/abs/2503.10996 (effect of scaling on a handful of examples).
    Differs: heads are muted directly in place of path patching, after a choice by the gradient of the scale.

    Args:
        base: the model.
        conflicts: 1 or more; half a dozen is enough.
        adapter: holds the facts that the context contradicts; None where the base model itself knows them.
        layers: top layers that are looked at; all where the model has fewer.
        tested: heads that are muted in earnest, 1 or more.

    Raises:
        ConfigError: if `layers` or `tested` is below 1.
        InvalidInputError: if there are no conflicts.
        UnsupportedError: if the model does not say how its attention heads lie.
    """
    for name, value in {"layers": layers, "tested": tested}.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}: give 1 or more")
    rows, attached = _Rows(base, conflicts), [] if adapter is None else [adapter]
    first = max(0, base.num_layers - layers)
    with torch.no_grad(), base.using(attached):
        states = [base.run(base.embedded(rows.ids), 0, first)]
        for layer in range(first, base.num_layers):
            states.append(base.run(states[-1], layer, layer + 1))
        plain = rows.margins(states[-1])
    every = [(layer, head) for layer in range(first, base.num_layers) for head in range(_num_heads(base, layer))]
    chosen = _steepest(base, rows, states[0], first, every, attached)[:tested]
    found = []
    for layer, head in sorted(chosen):
        muted = scaling(base, {(layer, head): 0.0})
        with torch.no_grad(), base.using([*attached, muted]):
            fall = plain - rows.margins(base.run(states[layer - first], layer))
        found.append(HeadEffect(layer, head, tuple(fall.tolist())))
    return sorted(found, key=lambda one: (-abs(one.mean), one.layer, one.head))


def scaling_for(
    side: str,
    effects: Sequence[HeadEffect],
    base: BaseModel,
    *,
    num: int = 4,
    muted: float = 0.0,
    raised: float = 1.5,
    stability: float = 0.8,
) -> HeadScaling:
    """Return the adapter that lets a model follow its context, or its weights, more.

    Args:
        side: one of `SIDES`.
        effects: as `score_heads` gives them.
        base: the model.
        num: heads of each sort, at most; 1 or more.
        muted: scale of heads that speak for the other side.
        raised: scale of heads that speak for this side.
        stability: the least share of conflicts in which a head speaks for its side, in [0, 1].

    Raises:
        ConfigError: if the side is unknown, or `num` is below 1.
        UnsupportedError: if no head speaks for a side in so many conflicts.
    """
    if side not in SIDES:
        raise ConfigError(f"side is {side!r}: choose one of: {', '.join(SIDES)}")
    if num < 1:
        raise ConfigError(f"num is {num}: give 1 or more heads")
    steady = [one for one in sorted(effects, key=lambda one: -abs(one.mean)) if one.stability >= stability]
    of_weights = [(one.layer, one.head) for one in steady if one.mean > 0][:num]
    of_context = [(one.layer, one.head) for one in steady if one.mean < 0][:num]
    ours, theirs = (of_context, of_weights) if side == "context" else (of_weights, of_context)
    if not ours and not theirs:
        raise UnsupportedError(f"no head speaks for one side in {stability:.0%} of the conflicts: give others")
    return scaling(base, dict.fromkeys(ours, raised) | dict.fromkeys(theirs, muted))


def scaling(base: BaseModel, scales: dict[tuple[int, int], float]) -> HeadScaling:
    """Return the adapter that scales heads.

    Args:
        base: the model.
        scales: by layer and head, both counted from 0; 1 or more.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(scales):
        by_layer.setdefault(layer, []).append(head)
    heads: dict[str, tuple[int, ...]] = {}
    values: dict[str, Tensor] = {}
    columns: dict[str, Tensor] = {}
    for layer, some in by_layer.items():
        name, size, num = base.linear(layer, "o_proj"), _head_dim(base, layer), _num_heads(base, layer)
        if max(some) >= num:
            raise InvalidInputError(f"layer {layer} has {num} heads, none with the number {max(some)}")
        weight = base.module(name).weight.detach()
        heads[name] = tuple(some)
        values[name] = torch.tensor([scales[layer, head] for head in some], device=weight.device)
        columns[name] = torch.cat([weight[:, head * size : (head + 1) * size] for head in some], dim=1).clone()
    return HeadScaling(heads, values, columns)


def _steepest(
    base: BaseModel,
    rows: "_Rows",
    state: Tensor,
    first: int,
    heads: Sequence[tuple[int, int]],
    attached: Sequence[Adapter],
) -> list[tuple[int, int]]:
    """Return heads by how steadily and steeply the margins change with their scales, the steepest first."""
    every = scaling(base, dict.fromkeys(heads, 1.0))
    for one in every.scales.values():
        one.requires_grad_()
    with torch.enable_grad(), base.using([*attached, every]):
        found = rows.margins(base.run(state, first))
    names, scales = list(every.scales), list(every.scales.values())
    slopes = [torch.autograd.grad(one, scales, retain_graph=True) for one in found]
    table = {name: torch.stack([one[at] for one in slopes]) for at, name in enumerate(names)}
    by_layer = {layer: table[base.linear(layer, "o_proj")] for layer in {layer for layer, _ in heads}}
    return sorted(heads, key=lambda at: (-abs(float(by_layer[at[0]][:, at[1]].mean())), at))


def _head_dim(base: BaseModel, layer: int) -> int:
    """Return how many features each head of a layer has."""
    attention = base.module(base.linear(layer, "o_proj").rpartition(".")[0])
    size = getattr(attention, "head_dim", None)
    if not isinstance(size, int) or size < 1:
        raise UnsupportedError(f"attention of layer {layer} does not say how large its heads are: use another model")
    return size


def _num_heads(base: BaseModel, layer: int) -> int:
    """Return how many heads the output projection of a layer reads."""
    return int(base.module(base.linear(layer, "o_proj")).weight.shape[1]) // _head_dim(base, layer)


class _Rows:
    """Conflicts as two rows each: the prompt with the weights' answer, then with the context's."""

    def __init__(self, base: BaseModel, conflicts: Sequence[Conflict]) -> None:
        if not conflicts:
            raise InvalidInputError("there are no conflicts to find heads with: give 1 or more")
        self._base, self._answers, self._starts = base, [], []
        rows = []
        for one in conflicts:
            ids = base.chat_tokens([{"role": "user", "content": f"{one.context}\n\n{one.question}"}])
            for answer in (base.tokens(one.of_weights), base.tokens(one.of_context)):
                rows.append(torch.tensor(ids + answer[:-1]))
                self._answers.append(answer)
                self._starts.append(len(ids) - 1)
        self.ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def margins(self, hidden: Tensor) -> Tensor:
        """Return the margin of the weights' answer in each conflict, of the last hidden states: (conflicts,)."""
        lengths = [len(one) for one in self._answers]
        picked = [hidden[at, start : start + lengths[at]] for at, start in enumerate(self._starts)]
        logs = torch.log_softmax(self._base.scores(torch.cat(picked)).float(), dim=-1)
        wanted = torch.tensor([token for one in self._answers for token in one], device=logs.device)
        sums = torch.stack([one.sum() for one in logs.gather(1, wanted[:, None])[:, 0].split(lengths)])
        return sums[0::2] - sums[1::2]
