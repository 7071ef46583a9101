"""Heads that look for an earlier copy keep all, the others their first tokens and the newest part of the context."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation._head_scores import protected_heads
from engramos.activation.policies._counts import head_counts, tokens_held
from engramos.activation.policies._parameters import Scores, check_least, check_share, row_of, table_of
from engramos.activation.policies._streaming_heads import attention_outside, standing, streaming_scores
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RazorAttention(Policy):
    """A fixed share of the heads keeps all: echo heads first, then induction heads.

    Source: RazorAttention, https://arxiv.org/abs/2407.15891, section 3.2: 1 % echo heads, 14 % induction heads; the
    others keep 4 sink tokens and the newest max(4000, N/5).
    Differs: shares count kv heads, rounded up; no compensation token, as a policy makes no keys; the others' newest
    part shrinks to what the budget leaves, and heads at the end of the order keep all only as far as half of the
    budget, at least, remains for the others. Without scores a head's score is the attention of the newest queries
    that goes neither to sink tokens nor to the newest part.
    """

    heads: Scores = ()
    """The induction score of each kv head of each layer; empty: scored from the prompt."""
    echo_heads: Scores = ()
    """The echo score of each kv head of each layer; empty for none. Only beside `heads`."""
    induction_share: float = 0.14
    """The share of the heads that keep all by induction score, in (0, 1]."""
    echo_share: float = 0.01
    """The share of the heads that keep all by echo score, in (0, 1]."""
    num_sinks: int = 4
    """First tokens of the other heads; 0 or more."""
    least_recent: int = 4000
    """The least of the newest part of the other heads, where the budget has room; 1 or more."""
    recent_share: float = 0.2
    """The newest part as a share of the context, in (0, 1]."""
    observation: int = 32
    """Newest queries by which heads are scored where no scores are given; 1 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        for name in ("heads", "echo_heads"):
            object.__setattr__(self, name, table_of(name, getattr(self, name)))
        if self.echo_heads and [len(row) for row in self.echo_heads] != [len(row) for row in self.heads]:
            raise ConfigError("echo_heads is not of the shape of heads: give both for the same layers and kv heads")
        check_share(induction_share=self.induction_share, echo_share=self.echo_share, recent_share=self.recent_share)
        check_least(0, num_sinks=self.num_sinks)
        check_least(1, least_recent=self.least_recent, observation=self.observation)

    @property
    def num_queries(self) -> int:
        """The queries by which heads are scored; none where scores are given."""
        return 0 if self.heads else self.observation

    def score(self, view: LayerView) -> Tensor:
        """Return the order of a head that does not keep all."""
        return streaming_scores(view, self.num_sinks, self._recent(view.num_tokens))

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the induction scores, made 0 or more."""
        given = row_of("heads", self.heads, view)
        if given is not None:
            return given - min(min(row) for row in self.heads)
        return standing(view, attention_outside(view, self.observation, self.num_sinks, self.least_recent))

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return all tokens for the protected heads, equal parts of the rest for the others."""
        induction = torch.stack(list(demands)).cpu()
        most = math.ceil(self.induction_share * induction.numel())
        if self.echo_heads:
            echo = torch.tensor(self.echo_heads)
            is_protected = protected_heads(
                echo, induction, echo_share=self.echo_share, induction_share=self.induction_share
            )
            is_echo = protected_heads(echo, induction, echo_share=self.echo_share, induction_share=0.0)
            most = int(is_protected.sum())
            induction = induction + is_echo * (1 + induction.max())
        held = tokens_held(scores)
        streaming = self.num_sinks + self._recent(int(held.max()))
        return head_counts(induction, held, num_tokens, streaming=streaming, most=most)

    def _recent(self, num_tokens: int) -> int:
        return max(self.least_recent, int(num_tokens * self.recent_share))
