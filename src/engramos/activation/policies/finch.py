"""Keep what the question looks at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.budgets import shares
from engramos.activation.policies._parameters import check_least
from engramos.activation.policies._votes import NEWEST, keep_newest
from engramos.activation.policies.base import LayerView, Policy, best, is_newest


@dataclass(frozen=True, slots=True)
class Finch(Policy):
    """The question's tokens vote; a query that sees more tokens weighs as much more; the question stays.

    Source: Finch, https://arxiv.org/abs/2408.00167, section 3.
    Differs: the context is read once, with the question after all of it, not chunk by chunk with the question after
    each; `chunk` shares the budget out over chunks all the same. Where the question is not known, the newest tokens
    stand for it. Keys keep their positions unless the cache moves them up.
    """

    window: int = 32
    """Newest tokens that stand for the question where it is not known; 1 or more."""
    longest: int = 128
    """At most so many of the question's newest tokens vote; 1 or more."""
    chunk: int = 0
    """Tokens of a chunk, each of which keeps its share; 0 for one chunk."""

    def __post_init__(self) -> None:
        check_least(1, window=self.window, longest=self.longest)
        check_least(0, chunk=self.chunk)

    @property
    def num_queries(self) -> int:
        """The longest question, or the window."""
        return max(self.window, self.longest)

    def score(self, view: LayerView) -> Tensor:
        """Return the mean attention of the question, each query's times the number of tokens before it."""
        question = view.question_tokens or self.window
        weights = view.attention(min(question, self.num_queries))
        asked = view.query_positions[view.query_positions.numel() - weights.shape[2] :]
        may_see = (view.positions[:, None] >= 0) & (view.positions[:, None] <= asked[None, :, None])
        before = may_see.sum(dim=-1).float() - 1
        votes = (weights * before[:, None, :, None]).sum(dim=2) / max(1, weights.shape[2])
        scores = votes.mean(dim=1).masked_fill(is_newest(view, question), 0.0)
        return keep_newest(scores, view, question)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the best of each chunk; the question first."""
        if not self.chunk:
            return [best(row, int(count)) for row, count in zip(scores, counts, strict=True)]
        return [self._by_chunk(row, int(count)) for row, count in zip(scores, counts, strict=True)]

    def _by_chunk(self, scores: Tensor, num: int) -> Tensor:
        # the level of the question's tokens falls by one for each token of age: no vote comes near half of it
        is_question = scores > NEWEST / 2
        kept = min(num, int(is_question.sum()))
        context = torch.nonzero(~is_question & (scores > float("-inf"))).flatten()
        if num <= kept or not len(context):
            return best(scores, num)
        chunks = context.split(self.chunk)
        sizes = torch.tensor([len(chunk) for chunk in chunks])
        counts = shares(sizes, min(num - kept, len(context)), floor=0, ceiling=self.chunk)
        parts = [chunk[best(scores[chunk], int(count))] for chunk, count in zip(chunks, counts, strict=True)]
        return torch.cat((*parts, torch.nonzero(is_question).flatten())).sort().values
