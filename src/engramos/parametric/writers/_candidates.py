"""Candidates: the few tokens between which a loss decides, instead of a whole vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.parametric.model import BaseModel
from engramos.parametric.writers._course import Course

RIVALS = 16
"""Likeliest tokens at each place that are candidates too."""
DRAWN = 512
"""Further tokens, drawn from the vocabulary."""
ROWS = 32


class Candidates:
    """Tokens whose scores are computed while a course goes on; a look at the whole vocabulary may add more.

    On a small model the scores of all tokens cost as much as several layers, and most tokens are never in question.
    """

    def __init__(self, course: Course, numbers: Sequence[int], further: Sequence[Tensor], seed: int) -> None:
        """Take what rows learn, what the model finds likely there, and some drawn tokens.

        Args:
            course: with the rows.
            numbers: of rows whose answers are learnt.
            further: tokens that must be among them.
            seed: of the drawn ones.
        """
        self._base = course.base
        self._weight = course.base.module(course.base.head_name).weight
        source = torch.Generator().manual_seed(seed)
        num = min(DRAWN, course.base.vocabulary)
        drawn = torch.randperm(course.base.vocabulary, generator=source)[:num]
        tokens = [drawn, course.learnt(numbers), *(one.reshape(-1).cpu() for one in further)]
        self._take(torch.cat(tokens))
        self.look(course, numbers)

    @torch.no_grad()
    def look(self, course: Course, numbers: Sequence[int]) -> None:
        """Add the tokens that the model finds likely now where these rows are learnt."""
        found = [self.tokens]
        for at in range(0, len(numbers), ROWS):
            scores = course.base.scores(course.states(numbers[at : at + ROWS]))
            found.append(scores.topk(min(RIVALS, scores.shape[-1]), dim=-1).indices.reshape(-1).cpu())
        self._take(torch.cat(found))

    def _take(self, tokens: Tensor) -> None:
        self.tokens = tokens.unique()
        self._rows = self._weight.detach()[self.tokens.to(self._weight.device)]

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Return log probabilities among the candidates after hidden states: (places, candidates) float32."""
        scores = torch.nn.functional.linear(self._base.final(states), self._rows)
        return torch.log_softmax(scores.float(), dim=-1)

    def places(self, tokens: Tensor) -> Tensor:
        """Return where tokens stand among the candidates, of the same shape."""
        return torch.searchsorted(self.tokens, tokens.cpu()).to(self._weight.device)


def can_choose(base: BaseModel) -> bool:
    """Return whether the scores of single tokens are rows of one matrix, with nothing added."""
    head = base.module(base.head_name)
    return getattr(head, "bias", None) is None and head.weight.shape[0] >= base.vocabulary
