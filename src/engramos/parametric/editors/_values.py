"""What a module reads at a subject, and what it should give there instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from engramos.errors import ModelError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.editors._requests import Row
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True, eq=False)
class Passing(Adapter):
    """An adapter for a few passes, never stored."""

    KIND: ClassVar[str] = "passing"
    names: tuple[str, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The modules."""
        return self.names

    def tensors(self) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return none."""
        return {}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Refuse: it was never stored.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("an adapter of a few passes is never stored: edit anew")


@dataclass(frozen=True, slots=True, eq=False)
class Watch(Passing):
    """Changes nothing, and keeps what modules read and gave."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output as it is."""
        self.inputs[target], self.outputs[target] = inputs.detach(), output.detach()
        return output


@dataclass(frozen=True, slots=True, eq=False)
class Shift(Passing):
    """Adds a vector to what modules give."""

    vector: Tensor = field(default_factory=lambda: torch.zeros(1))

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with the vector added."""
        return output + self.vector.to(output.dtype)


@dataclass(frozen=True, slots=True)
class Search:
    """How a value is looked for."""

    steps: int
    """At most."""
    rate: float
    """How far a step goes, as a share of the clamp."""
    clamp: float
    """The longest change, in lengths of what the module gave."""
    enough: float
    """Probability of the target's tokens at which the search ends, in (0, 1)."""
    kl_weight: float
    """Of the subject's own meaning, which must stay."""
    decay: float
    """Of the change's squared length in lengths of what the module gave."""


def device_of(base: BaseModel) -> torch.device:
    """Return where the model computes."""
    return base.module(base.head_name).weight.device


def table(rows: Sequence[Sequence[int]], base: BaseModel) -> Tensor:
    """Return tokens padded on the right: (rows, tokens)."""
    made = torch.zeros(len(rows), max(len(one) for one in rows), dtype=torch.int64)
    for number, one in enumerate(rows):
        made[number, : len(one)] = torch.tensor(one)
    return made.to(device_of(base))


@torch.no_grad()
def keys(rows: Sequence[Row], base: BaseModel, layer: int, attached: Sequence[Adapter] = ()) -> Tensor:
    """Return what the layer's last linear module reads at the subject, averaged over rows: (features,) float64."""
    name = base.linear(layer, "down_proj")
    watch = Watch((name,))
    with base.using([*attached, watch]):
        base.run(base.embedded(table([row.prompt for row in rows], base)), 0, layer + 1)
    read = watch.inputs[name]
    return torch.stack([read[number, row.at] for number, row in enumerate(rows)]).double().mean(dim=0)


@torch.no_grad()
def states(rows: Sequence[Row], base: BaseModel, layer: int, attached: Sequence[Adapter] = ()) -> Tensor:
    """Return hidden states after a layer at the subject of each row: (rows, hidden) float64."""
    with base.using(list(attached)):
        hidden = base.run(base.embedded(table([row.prompt for row in rows], base)), 0, layer + 1)
    return torch.stack([hidden[number, row.at] for number, row in enumerate(rows)]).double()


@torch.no_grad()
def changed_states(rows: Sequence[Row], changes: Sequence[Tensor], base: BaseModel, layer: int) -> Tensor:
    """Return hidden states after a layer at the subject of each row whose module gives so much more: as `states`."""
    found = []
    for row, change in zip(rows, changes, strict=True):
        ids = table([row.prompt], base)
        active = torch.arange(ids.shape[1], device=ids.device)[None] == row.at
        with base.using(Shift((base.linear(layer, "down_proj"),), change), active):
            found.append(base.run(base.embedded(ids), 0, layer + 1)[0, row.at])
    return torch.stack(found).double()


def wanted_change(rows: Sequence[Row], essence: Row, base: BaseModel, layer: int, search: Search) -> Tensor:
    """Return what must be added to the layer's last linear module at the subject for the targets to follow.

    Adam over the mean negative log probability of the targets, the KL divergence of what follows on the essence, and
    the change's squared length; cut back to the clamp after each step.

    Source: ROME, https://arxiv.org/abs/2202.05262, section 3.1, equation 4.
    Differs: steps and lengths in units of what the module gave, so that they fit models of any size; ends as soon as
    the target is likely enough, because a longer change harms more.

    Args:
        rows: the prompt alone and after prefixes, with targets.
        essence: a text about the subject whose next token must stay as it is; its target is not looked at.
        base: the model.
        layer: whose module is changed.
        search: how.

    Returns:
        (features,) float64.

    Raises:
        ModelError: if a number became NaN or infinite.
    """
    name = base.linear(layer, "down_proj")
    ids = table([*(row.ids for row in rows), essence.prompt], base)
    active = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
    for number, row in enumerate((*rows, essence)):
        active[number, row.at] = True
    with torch.no_grad():
        hidden = base.run(base.embedded(ids), 0, layer)
        watch = Watch((name,))
        with base.using(watch):
            before = _log_probabilities(base.run(hidden, layer), rows, essence, base)[1]
    unit = float(watch.outputs[name][0, rows[0].at].float().norm())
    if not 0.0 < unit < float("inf"):
        raise ModelError(f"{name!r} gives a vector of length {unit} at the subject: no edit can be made there")
    longest = search.clamp * unit
    change = torch.zeros(watch.outputs[name].shape[-1], device=ids.device, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=search.rate * longest / change.numel() ** 0.5)
    for _ in range(search.steps):
        optimizer.zero_grad()
        with base.using(Shift((name,), change), active):
            targets, after = _log_probabilities(base.run(hidden, layer), rows, essence, base)
        if float(targets.detach().exp().mean()) >= search.enough:
            break
        kl = functional.kl_div(after, before, log_target=True, reduction="sum")
        loss = -targets.mean() + search.kl_weight * kl + search.decay * (change.norm() / unit) ** 2
        (change.grad,) = torch.autograd.grad(loss, [change])
        optimizer.step()
        with torch.no_grad():
            change.mul_(min(1.0, longest / max(float(change.detach().norm()), 1e-12)))
    if not bool(torch.isfinite(change).all()):
        raise ModelError(f"the search for an edit of {name!r} gave numbers that are not finite: use a lower rate")
    return change.detach().double()


def _log_probabilities(hidden: Tensor, rows: Sequence[Row], essence: Row, base: BaseModel) -> tuple[Tensor, Tensor]:
    """Return each row's mean log probability of its target, and log probabilities after the essence."""
    asked = [hidden[number, len(row.prompt) - 1 : len(row.ids)] for number, row in enumerate(rows)]
    scores = base.scores(torch.cat([*asked, hidden[len(rows), len(essence.prompt) - 1 :][:1]])).float()
    logs = torch.log_softmax(scores, dim=-1)
    parts = torch.split(logs[:-1], [len(row.target) for row in rows])
    wanted = [
        part.gather(1, torch.tensor(row.target, device=part.device)[:, None]).mean()
        for part, row in zip(parts, rows, strict=True)
    ]
    return torch.stack(wanted), logs[-1]
