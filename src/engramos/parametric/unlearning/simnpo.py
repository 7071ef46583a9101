"""Simple negative preference optimisation: as NPO, by the likelihood a token and without a reference."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from engramos.parametric.unlearning._descent import Descending, Likelihood, check_above_zero, check_zero_or_more


@dataclass(frozen=True, slots=True)
class SimNPO(Descending):
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
    forgotten_weight: float = 0.3
    """Of the loss above; above 0."""

    def __post_init__(self) -> None:
        Descending.__post_init__(self)
        check_above_zero(beta=self.beta)
        check_zero_or_more(margin=self.margin)

    def _losses(self, answers: Likelihood) -> Tensor:
        return functional.logsigmoid(-self.beta * answers.now / answers.lengths - self.margin) * (-2 / self.beta)
