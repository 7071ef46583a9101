"""The training of a product-key memory: which slots a batch may change, and Adam on these alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import ModelError
from engramos.parametric._listening import heard
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.product_keys import ProductKeys
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Batch

BETAS = (0.9, 0.999)
TINY = 1e-8
SMALLEST_DEVIATION = 1e-3


def tf_idf(counts: Tensor, busy: Tensor, num_texts: int) -> Tensor:
    """Return how much slots belong to a batch: their share of its reads, times how rare they are in background text.

    Source: https://arxiv.org/abs/2510.15103, section 3.

    Args:
        counts: how often the batch reads each slot: (slots,).
        busy: how many background texts read each slot: (slots,).
        num_texts: how many background texts there are; without any, the share alone counts.
    """
    share = counts / counts.sum().clamp(min=1)
    # without background every slot would score 0
    return share * torch.log((num_texts + 1) / (busy + 1)) if num_texts else share


def divergence(counts: Tensor, busy: Tensor, num_texts: int) -> Tensor:
    """Return each slot's part of the Kullback-Leibler divergence of the batch's reads from the background's.

    Args:
        counts: how often the batch reads each slot: (slots,).
        busy: how many background texts read each slot: (slots,).
        num_texts: not needed: both are shares.
    """
    share = counts / counts.sum().clamp(min=1)
    usual = (busy + 1) / (busy + 1).sum()
    return torch.where(counts > 0, share * torch.log(share.clamp(min=TINY) / usual), 0.0)


def chosen(counts: Tensor, scores: Tensor, most: int) -> Tensor:
    """Return the slots that a step may change: those that are read and score above 0, the best `most` of them."""
    found = ((counts > 0) & (scores > 0)).nonzero()[:, 0]
    best = scores[found].argsort(descending=True, stable=True)[:most]
    return found[best]


@dataclass(frozen=True, slots=True, eq=False)
class Watched(Adapter):
    """A memory that keeps which slots the last pass has read."""

    KIND: ClassVar[str] = "watched"
    memory: ProductKeys
    seen: dict[str, Tensor] = field(default_factory=dict)
    """By module: (rows, tokens, num_reads) int64."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The memory's."""
        return self.memory.targets

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return what the memory makes of the output."""
        slots, weights = self.memory.addresses(target, inputs)
        self.seen[target] = slots
        return self.memory.read(target, slots, weights, output)

    def tensors(self) -> dict[str, Tensor]:
        """Return the memory's tensors."""
        return self.memory.tensors()

    def settings(self) -> dict[str, Any]:
        """Return the memory's settings."""
        return self.memory.settings()

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return one over the restored memory."""
        return cls(ProductKeys.restored(tensors, settings))


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What is known before the first step."""

    memory: ProductKeys
    """With every slot, all zeros."""
    lower: list[Tensor]
    """For each batch of the lesson, the hidden states before the first memory."""
    busy: dict[str, Tensor]
    """By module, how many background texts read each slot: (slots,)."""
    num_texts: int
    scales: dict[str, float]
    """By module, the root mean square of what it gives."""


@torch.no_grad()
def surveyed(
    base: BaseModel,
    empty: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], ProductKeys],
    targets: Sequence[str],
    first: int,
    lesson: Sequence[Batch],
    background: Sequence[Batch],
) -> Survey:
    """Read a lesson and its background once.

    Args:
        base: the model.
        empty: makes a memory without values of means and deviations by module.
        targets: the modules, in layer `first` and above.
        first: counted from 0.
        lesson: its batches.
        background: text that must stay as it is; may be empty.
    """
    batches = [*lesson, *background]
    lower = [base.run(base.embedded(batch.ids), 0, first) for batch in batches]
    found = [_heard(base, targets, hidden, first) for hidden in lower]
    means, deviations, scales = {}, {}, {}
    for target in targets:
        read, given = (
            torch.cat([one[target][part][batch.active] for one, batch in zip(found, batches, strict=True)]).float()
            for part in (0, 1)
        )
        means[target], deviations[target] = read.mean(dim=0), read.std(dim=0, correction=0) + SMALLEST_DEVIATION
        scales[target] = float(given.square().mean().sqrt())
    memory = empty(means, deviations)
    busy = {target: torch.zeros(memory.num_keys**2, device=one.device) for target, one in means.items()}
    for one, batch in zip(found[len(lesson) :], background, strict=True):
        for target in targets:
            for reads, is_active in zip(memory.addresses(target, one[target][0])[0], batch.active, strict=True):
                busy[target][reads[is_active].unique()] += 1
    return Survey(memory, lower[: len(lesson)], busy, sum(len(batch.rows) for batch in background), scales)


def _heard(base: BaseModel, targets: Sequence[str], hidden: Tensor, first: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what several modules read and gave in one pass."""
    if not targets:
        base.run(hidden, first)
        return {}
    found: dict[str, tuple[Tensor, Tensor]] = {}
    own = heard(base, targets[0], lambda: found.update(_heard(base, targets[1:], hidden, first)))
    return found | {targets[0]: own}


@dataclass(slots=True, eq=False)
class SparseAdam:
    """Adam on the rows of one table that a step names; all others stay as they are."""

    values: Tensor
    rate: float
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    steps: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.steps = torch.zeros(self.values.shape[0], 1, device=self.values.device)

    @torch.no_grad()
    def step(self, rows: Tensor) -> None:
        """Change these rows by their gradients, and drop all gradients."""
        assert self.values.grad is not None
        gradient = self.values.grad[rows]
        self.values.grad = None
        self.steps[rows] += 1
        count = self.steps[rows]
        first = BETAS[0] * self.first[rows] + (1 - BETAS[0]) * gradient
        second = BETAS[1] * self.second[rows] + (1 - BETAS[1]) * gradient.square()
        self.first[rows], self.second[rows] = first, second
        size = (second / (1 - BETAS[1] ** count)).sqrt() + TINY
        self.values[rows] -= self.rate * (first / (1 - BETAS[0] ** count)) / size


@dataclass(slots=True, eq=False)
class SparseTraining:
    """One training of a memory."""

    base: BaseModel
    survey: Survey
    first: int
    """The first layer with a memory."""
    rate: float
    """As a share of the root mean square of what the module gives."""
    score: Callable[[Tensor, Tensor, int], Tensor]
    most: int
    """Slots of a layer that a step changes."""
    watched: Watched = field(init=False)
    tables: dict[str, SparseAdam] = field(init=False)
    places: dict[str, int] = field(init=False)
    steps: int = 0

    def __post_init__(self) -> None:
        memory = self.survey.memory
        for one in memory.values.values():
            one.requires_grad_()
        self.watched = Watched(memory)
        scales = self.survey.scales
        self.tables = {target: SparseAdam(one, self.rate * scales[target]) for target, one in memory.values.items()}
        self.places = {fact_id: place for place, fact_id in enumerate(memory.facts)}

    def passed(self, number: int, batch: Batch, stop: float) -> tuple[float, float]:
        """Train on a batch unless every answer token of it is more probable than `stop`.

        Args:
            number: the batch's, as in the survey.
            batch: the batch.
            stop: in (0, 1).

        Returns:
            The mean loss, and the smallest probability of an answer's token, both before the step.

        Raises:
            ModelError: if the loss is not finite.
        """
        with self.base.using(self.watched, batch.active):
            hidden = self.base.run(self.survey.lower[number], self.first)
        scores = self.base.scores(hidden[batch.places]).float()
        losses = torch.nn.functional.cross_entropy(scores, batch.wanted, reduction="none")
        loss, least = float(losses.detach().mean()), float(torch.exp(-losses.detach().max()))
        if not math.isfinite(loss):
            raise ModelError("training a memory gave a loss that is not finite: use a lower rate")
        if least <= stop:
            losses.mean().backward()
            self._step(batch)
        return loss, least

    def _step(self, batch: Batch) -> None:
        memory, self.steps = self.watched.memory, self.steps + 1
        for target, table in self.tables.items():
            slots, busy = self.watched.seen[target], self.survey.busy[target]
            counts = torch.bincount(slots[batch.active].flatten(), minlength=busy.shape[0]).float()
            rows = chosen(counts, self.score(counts, busy, self.survey.num_texts), self.most)
            table.step(rows)
            is_changed = torch.zeros_like(counts, dtype=torch.bool)
            is_changed[rows] = True
            for row, reads, is_active in zip(batch.rows, slots, batch.active, strict=True):
                own = reads[is_active].unique()
                memory.owners[target][own[is_changed[own]], self.places[row.fact_id]] = True

    def finished(self) -> ProductKeys:
        """Return the memory with the slots that were changed alone, and without gradients."""
        memory = self.watched.memory
        kept = {target: one.any(dim=1) for target, one in memory.owners.items()}
        return replace(
            memory,
            slots={target: one[kept[target]] for target, one in memory.slots.items()},
            values={target: one.detach()[kept[target]].clone() for target, one in memory.values.items()},
            owners={target: one[kept[target]] for target, one in memory.owners.items()},
        )
