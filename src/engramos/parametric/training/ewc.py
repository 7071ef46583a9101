"""Elastic weight consolidation: numbers that matter for what was learnt before are held near where they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Row
from engramos.parametric.training._rows import (
    answer_log_probabilities,
    check_carried,
    fact_rows,
    reached,
    text_rows,
    trainable,
)


def fisher(adapter: LowRank, lesson: Lesson, base: BaseModel) -> dict[str, Tensor]:
    """Return how much each number of an adapter matters for a lesson: its diagonal Fisher information.

    That is the mean over all rows of the squared gradient of a row's mean cross entropy. Rows are the questions and
    clozes of the facts, their answers alone in the loss, and pieces of the texts. `Lesson.retained` is left out:
    general text was not learnt, so that its gradients are far greater, and would hide what facts need.

    Source: EWC, https://arxiv.org/abs/1612.00796, section 2.
    Differs: the labels are the lesson's own and not drawn from the model, the empirical Fisher.

    Args:
        adapter: at its trained values; it is left as it was.
        lesson: with facts or texts.
        base: the model.

    Returns:
        By the names of `LowRank.tensors`, in their shapes, float32, 0 or more. To be stored as it is.

    Raises:
        InvalidInputError: if the lesson has nothing on which the adapter acts.
        UnsupportedError: if the adapter acts on the module that makes the scores.
    """
    return fisher_of(adapter, learnt_rows(lesson, base), base)


def learnt_rows(lesson: Lesson, base: BaseModel) -> list[Row]:
    """Return the rows of all that is learnt from a lesson."""
    return fact_rows(lesson, base, with_end=True) + text_rows(lesson.texts, base)


def fisher_of(adapter: LowRank, rows: list[Row], base: BaseModel) -> dict[str, Tensor]:
    """Return the diagonal Fisher information of an adapter over rows; see `fisher`."""
    check_carried(adapter, base)
    rows = reached(rows, adapter)
    if not rows:
        raise InvalidInputError("the lesson has nothing on which the adapter acts: give facts or texts")
    copy = trainable(adapter)
    tensors = copy.tensors()
    sums = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in tensors.items()}
    for row in rows:
        (logs,) = answer_log_probabilities([row], base, copy)
        gradients = torch.autograd.grad(-logs.mean(), list(tensors.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total.addcmul_(gradient, gradient)
    return {name: total / len(rows) for name, total in sums.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """Where an adapter's numbers were after a lesson, and how much each mattered for it."""

    fisher: Mapping[str, Tensor]
    """By the names of `LowRank.tensors`; 0 or more."""
    values: Mapping[str, Tensor]
    """By the same names, of the same shapes."""

    def __post_init__(self) -> None:
        if self.fisher.keys() != self.values.keys():
            name = sorted(self.fisher.keys() ^ self.values.keys())[0]
            raise InvalidInputError(f"an anchor has the Fisher or the value of {name[:80]!r} alone: give both")
        for name, one in self.fisher.items():
            if one.shape != self.values[name].shape or not bool((one >= 0).all()):
                raise InvalidInputError(f"the Fisher of {name[:80]!r} has another shape, a negative number or a NaN")

    @classmethod
    def of(cls, adapter: LowRank, lesson: Lesson, base: BaseModel) -> Self:
        """Return the anchor of an adapter that has learnt a lesson; raises as `fisher`."""
        values = {name: one.detach().clone() for name, one in adapter.tensors().items()}
        return cls(fisher(adapter, lesson, base), values)

    def penalty(self, adapter: LowRank, strength: float) -> Tensor:
        """Return (strength / 2) sum F (theta - theta*)^2: what is added to the loss of the next lesson.

        Several lessons before: add up the penalties of their anchors.

        Source: EWC, https://arxiv.org/abs/1612.00796, equation 3.

        Args:
            adapter: that is being trained; its modules and ranks are those of the anchor.
            strength: the paper's lambda, 0 or more. The Fisher of what is well learnt is small: 1e5 is a usual value.

        Returns:
            One number, differentiable with respect to the adapter's tensors.

        Raises:
            ConfigError: if `strength` is negative.
            InvalidInputError: if the adapter has other tensors than the anchor.
        """
        if not strength >= 0:
            raise ConfigError(f"strength is {strength}: give 0 or more")
        tensors = adapter.tensors()
        shapes, wanted = ({name: one.shape for name, one in both.items()} for both in (tensors, self.values))
        if shapes != wanted:
            raise InvalidInputError("the adapter has other tensors than the anchor: give the one that it was made of")
        terms = [(self.fisher[name] * (one - self.values[name]).square()).sum() for name, one in tensors.items()]
        return torch.stack(terms).sum() * (strength / 2)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, `fisher.<name>` and `value.<name>`: what is stored."""
        found = {f"fisher.{name}": one for name, one in self.fisher.items()}
        return found | {f"value.{name}": one for name, one in self.values.items()}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the anchor of stored tensors.

        Raises:
            InvalidInputError: if one is missing, unknown, or of a wrong shape.
        """
        parts: dict[str, dict[str, Tensor]] = {"fisher": {}, "value": {}}
        for name, one in tensors.items():
            part, _, rest = name.partition(".")
            if part not in parts or not rest:
                raise InvalidInputError(f"an anchor does not know the tensor {name[:80]!r}: make the anchor anew")
            parts[part][rest] = one
        return cls(parts["fisher"], parts["value"])
