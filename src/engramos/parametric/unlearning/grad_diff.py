"""Gradient difference: up the loss of what must go, down the loss of what must stay."""

from dataclasses import dataclass

from torch import Tensor

from engramos.parametric.unlearning._descent import Descending, Likelihood


@dataclass(frozen=True, slots=True)
class GradDiff(Descending):
    """Descends the log-probability a token of forgotten answers, together with the loss of kept ones.

    It costs others: on a model of 135 million weights, forgetting 10 of 50 facts of one adapter took the recall of the
    other 40 from .98 to .73 without our stop. To drop or write anew a shard costs them nothing.

    Source: https://arxiv.org/abs/2203.12817; as the baseline "gradient difference" of TOFU,
    https://arxiv.org/abs/2401.06121.
    Differs: as NPO; without such a stop the loss has no bottom. Each row counts alike, whatever its length.
    """

    forgotten_weight: float = 0.3
    """Of the loss of what must go; above 0."""

    def _losses(self, answers: Likelihood) -> Tensor:
        return answers.now / answers.lengths
