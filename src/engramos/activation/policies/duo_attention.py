"""Retrieval heads keep all, streaming heads keep their first tokens and their newest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._counts import head_counts, tokens_held
from engramos.activation.policies._parameters import Scores, check_least, row_of, table_of
from engramos.activation.policies._streaming_heads import attention_outside, standing, streaming_scores
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy


@dataclass(frozen=True, slots=True)
class DuoAttention(Policy):
    """Heads keep all tokens in the order of their scores, as many heads as the budget allows.

    Source: DuoAttention, https://arxiv.org/abs/2410.10819, section 3; 64 sink tokens and 256 newest as it deploys them.
    Differs: the budget says how many heads are retrieval heads, not a threshold; the last of them gets what is left.
    Where the budget is below twice the sink tokens and window, streaming heads get half of it, sink tokens and newest
    in the same proportion. Without trained scores a head's score is the attention of the newest queries that goes
    neither to sink tokens nor to the window.
    """

    heads: Scores = ()
    """The gate of each kv head of each layer, the greater the more a retrieval head; empty: scored from the prompt."""
    num_sinks: int = 64
    """First tokens of a streaming head; 0 or more."""
    recent: int = 256
    """Newest tokens of a streaming head; 1 or more."""
    observation: int = 32
    """Newest queries by which heads are scored where no scores are given; 1 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", table_of("heads", self.heads))
        check_least(0, num_sinks=self.num_sinks)
        check_least(1, recent=self.recent, observation=self.observation)

    @property
    def num_queries(self) -> int:
        """The queries by which heads are scored; none where scores are given."""
        return 0 if self.heads else self.observation

    def score(self, view: LayerView) -> Tensor:
        """Return the order of a streaming head; a retrieval head keeps all anyway."""
        return streaming_scores(view, self.num_sinks, self.recent)

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the head scores, made 0 or more."""
        given = row_of("heads", self.heads, view)
        if given is not None:
            return given - min(min(row) for row in self.heads)
        return standing(view, attention_outside(view, self.observation, self.num_sinks, self.recent))

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return all tokens for the first heads, sink tokens and window for the others."""
        streaming = self.num_sinks + self.recent
        return head_counts(torch.stack(list(demands)).cpu(), tokens_held(scores), num_tokens, streaming=streaming)
