"""Keep or drop whole sentences, by their mean key."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._parameters import check_least
from engramos.activation.policies._votes import NEWEST, keep_newest
from engramos.activation.policies.base import LayerView, Policy, best, is_first

SENTENCE = "sentence"
"""The note of the number of each token's sentence."""


@dataclass(frozen=True, slots=True)
class SentenceKV(Policy):
    """Sentences stay in the order in which their mean key answers to the mean of the newest queries.

    Source: SentenceKV, https://arxiv.org/abs/2504.00970, in a form that drops: the paper fetches sentences again for
    each sentence that is produced.
    Differs: as said; a sentence that does not fit into what is left is passed over and a worse one that fits is taken;
    what is left at the end goes to the first tokens of the best one that was passed over. First tokens and the newest
    always stay. Where there is but one sentence, or nobody says where sentences end, each token is its own.
    """

    window: int = 32
    """Newest queries that are averaged, and tokens that always stay; 1 or more."""
    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    needs: ClassVar[frozenset[str]] = frozenset({SENTENCE})

    def __post_init__(self) -> None:
        check_least(1, window=self.window)
        check_least(0, num_sinks=self.num_sinks)

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def score(self, view: LayerView) -> Tensor:
        """Return for each token the product of its sentence's mean key and the mean query, scaled."""
        held = view.positions >= 0
        number = view.notes[SENTENCE].long() if SENTENCE in view.notes else torch.zeros_like(view.positions)
        number = (number - number.min()).masked_fill(~held, 0)
        if not int(number.max()):
            number = torch.arange(view.num_tokens, device=number.device).expand(number.shape)
        keys = view.keys.float() * held[..., None]
        sums = keys.new_zeros((view.kv_heads, int(number.max()) + 1, keys.shape[-1]))
        sums.scatter_add_(1, number[..., None].expand_as(keys), keys)
        sizes = keys.new_zeros(sums.shape[:2]).scatter_add_(1, number, held.float())
        query = _mean_query(view, self.window)
        answers = torch.einsum("hsd,hd->hs", sums / sizes.clamp(min=1)[..., None], query) * view.scaling
        scores = keep_newest(answers.gather(1, number), view, self.window)
        age = torch.arange(view.num_tokens, device=keys.device).float()
        return torch.where(is_first(view, self.num_sinks), 2 * NEWEST - age, scores)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of whole sentences: tokens of one sentence have one score."""
        return [_whole(row, int(count)) for row, count in zip(scores, counts, strict=True)]


def _mean_query(view: LayerView, window: int) -> Tensor:
    queries = view.queries[:, -window:].float()
    mean = queries.sum(dim=1) / max(1, queries.shape[1])
    return mean.reshape(view.kv_heads, -1, mean.shape[-1]).mean(dim=1)


def _whole(scores: Tensor, num: int) -> Tensor:
    """Return the places of groups of equal scores that fit into `num`, then of the best that is left; rising."""
    values, sizes = torch.unique(scores[scores > float("-inf")], return_counts=True)
    chosen, left = [], num
    for value, size in zip(values.flip(0).tolist(), sizes.flip(0).tolist(), strict=True):
        if size <= left:
            chosen.append(value)
            left -= size
    is_whole = torch.isin(scores, scores.new_tensor(chosen))
    return best(scores.masked_fill(is_whole, float("inf")), num)
