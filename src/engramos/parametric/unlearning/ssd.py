"""Selective synaptic dampening: numbers that matter for what must go, more than for all, are made smaller."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.training.ewc import fisher_of, learnt_rows
from engramos.parametric.unlearning._descent import check_above_zero, forgotten_rows
from engramos.parametric.unlearning.base import Unlearner


@dataclass(frozen=True, slots=True)
class SSD(Unlearner):
    """Multiplies a number by min(1, damping * F_all / F_forgotten) where F_forgotten > threshold * F_all.

    F are diagonal Fisher informations, over what is forgotten and over that and what is kept. No descent, one pass
    over both; but facts of a small low-rank adapter share nearly all its numbers, so that on a model of 135 million
    weights 9 to 10 of 10 forgotten facts stayed known. Whoever uses it must probe the result.

    Source: SSD, https://arxiv.org/abs/2308.07707, equations 4 and 5.
    Differs: rows, and not batches, are averaged. `Lesson.retained` is left out, see `ewc.fisher`.
    """

    threshold: float = 10.0
    """The paper's alpha: how many times more a number must matter for what is forgotten than for all; above 0."""
    damping: float = 1.0
    """The paper's lambda: how far it is dampened, less for more; above 0."""

    def __post_init__(self) -> None:
        check_above_zero(threshold=self.threshold, damping=self.damping)

    def unlearn(self, adapter: LowRank, forgotten: Lesson, kept: Lesson, base: BaseModel, *, seed: int = 0) -> LowRank:
        """Return the dampened adapter; nothing is drawn.

        Raises:
            InvalidInputError: if there is nothing to forget, or nothing that is kept: without it no number matters
                more for the one than for all.
        """
        gone, stay = forgotten_rows(adapter, forgotten, base), learnt_rows(kept, base)
        if not stay:
            raise InvalidInputError("selective dampening compares with what is kept: give facts or texts that stay")
        of_gone, of_all = fisher_of(adapter, gone, base), fisher_of(adapter, gone + stay, base)
        changed = {name: self._dampened(one, of_gone[name], of_all[name]) for name, one in adapter.tensors().items()}
        return LowRank.restored(changed, adapter.settings())

    def _dampened(self, values: Tensor, of_gone: Tensor, of_all: Tensor) -> Tensor:
        is_chosen = of_gone > self.threshold * of_all
        factor = torch.where(is_chosen, (self.damping * of_all / of_gone).clamp(max=1.0), 1.0)
        return values.detach() * factor.to(values.dtype)
