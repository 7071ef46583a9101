"""Keep whole stretches of text: windows whose tokens together get the attention of the prompt's end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engramos.activation.policies._newest import window_of
from engramos.activation.policies._parameters import check_least, check_share
from engramos.activation.policies._votes import keep_newest, mean_attention
from engramos.activation.policies.base import LayerView, Policy, is_newest


@dataclass(frozen=True, slots=True)
class WindowKV(Policy):
    """The prompt before the observation window is cut into windows; the best ones stay as a whole, the last in part.

    Source: WindowKV, https://arxiv.org/abs/2503.17922: contiguous windows, their length by the task (to look up one
    place, or to aggregate over many), scored by the observation window's attention.
    Differs: no trained classifier: a prompt whose attention lies on few tokens (entropy beside that of even attention
    is at most `lookup_entropy`) is a look-up, which keeps long windows; else many short ones. Lengths are ours. All
    layers have the same budget.
    """

    observation: int = 32
    """Newest queries that vote, and tokens that always stay; 1 or more."""
    lookup_window: int = 32
    """Tokens of a window where one place is looked up; 1 or more."""
    aggregation_window: int = 8
    """Tokens of a window where much is brought together; 1 or more."""
    lookup_entropy: float = 0.5
    """Up to this share of the greatest possible entropy it is a look-up, in (0, 1]."""
    group: int = 2
    """Adjacent layers that share the places which the first of them chose; 1 or more."""

    def __post_init__(self) -> None:
        check_least(
            1,
            observation=self.observation,
            lookup_window=self.lookup_window,
            aggregation_window=self.aggregation_window,
            group=self.group,
        )
        check_share(lookup_entropy=self.lookup_entropy)

    @property
    def num_queries(self) -> int:
        """The observation window."""
        return self.observation

    def score(self, view: LayerView) -> Tensor:
        """Return for each token the mean attention of its window."""
        observation = window_of(view, self.observation)
        votes = mean_attention(view, observation).mean(dim=1).masked_fill(is_newest(view, observation), 0.0)
        length = self.window_length(votes)
        num = view.num_tokens
        cut = functional.pad(votes, (0, -num % length)).unflatten(-1, (-1, length))
        # the window at the end may be short: its mean is over the tokens that it has
        sizes = functional.pad((view.positions >= 0).float(), (0, -num % length)).unflatten(-1, (-1, length)).sum(-1)
        means = cut.sum(dim=-1) / sizes.clamp(min=1)
        return keep_newest(means.repeat_interleave(length, dim=-1)[:, :num], view, observation)

    def choose_all(self, scores: Sequence[Tensor], counts: Tensor) -> list[list[Tensor]]:
        """Return the places of each group's first layer for all its layers, where they hold the same tokens."""
        chosen: list[list[Tensor]] = []
        for at, (layer, count) in enumerate(zip(scores, counts, strict=True)):
            first = at - at % self.group
            is_alike = torch.equal(layer > float("-inf"), scores[first] > float("-inf"))
            chosen.append(chosen[first] if at != first and is_alike else self.choose(layer, count))
        return chosen

    def window_length(self, votes: Tensor) -> int:
        """Return how long windows are for these votes.

        Args:
            votes: (kv_heads, tokens), >= 0; 0 where there is no token.
        """
        together = votes.double().sum(dim=0)
        total, num = float(together.sum()), int((together > 0).sum())
        if total <= 0 or num < 2:
            return self.lookup_window
        entropy = float(torch.special.entr(together / total).sum()) / math.log(num)
        return self.lookup_window if entropy <= self.lookup_entropy else self.aggregation_window
