"""Simple negative preference optimisation: as NPO, by the likelihood a token and without a reference."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.unlearning._descent import Descent, Likelihood
from engramos.parametric.unlearning.base import Unlearner


@dataclass(frozen=True, slots=True)
class SimNPO(Unlearner):
    """Descends -(2 / beta) log sigmoid(-(beta / length) log p - margin): long answers get no more than short ones.

    It costs others what its relatives NPO and gradient difference cost, about a quarter of them on a model of 135
    million weights without our stop. To drop or write anew a shard costs them nothing.

    Source: SimNPO, https://arxiv.org/abs/2410.07163, equation 4; parameters as in open-unlearning, whose `gamma` is our
    `forgotten_weight`, and whose `delta`, the paper's gamma, is our `margin`.
    Differs: as NPO.
    """

    beta: float = 4.5
    """How soon a row's gradient fades as its answer becomes unlikely; above 0."""
    margin: float = 0.0
    """The likelihood at which it fades, lower for more; 0 or more."""
    learning_rate: float = 5e-4
    """Of Adam; above 0."""
    max_steps: int = 40
    """Steps at most, 1 or more; usually it ends long before."""
    forgotten_weight: float = 0.125
    """Of the loss above; above 0."""
    kept_weight: float = 1.0
    """Of the loss of what must stay; 0 or more."""
    tolerance: float = 0.5
    """By how many nats a token a forgotten answer may stay likelier than without the adapter; 0 or more."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ConfigError(f"beta is {self.beta}: give a number above 0")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"margin is {self.margin}: give 0 or more")
        self._descent()

    def unlearn(self, adapter: LowRank, forgotten: Lesson, kept: Lesson, base: BaseModel, *, seed: int = 0) -> LowRank:
        """Return the adapter after the descent; see `Unlearner.unlearn`."""
        return self._descent().run(self._loss, adapter, forgotten, kept, base, seed)

    def _descent(self) -> Descent:
        return Descent(self.learning_rate, self.max_steps, self.forgotten_weight, self.kept_weight, self.tolerance)

    def _loss(self, answers: Likelihood) -> Tensor:
        return functional.logsigmoid(-self.beta * answers.now / answers.lengths - self.margin) * (-2 / self.beta)
