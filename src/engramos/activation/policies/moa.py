"""Give each head a window of its own length, which grows with the context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.budgets import shares
from engramos.activation.policies._parameters import Scores, check_least, check_share, row_of, table_of
from engramos.activation.policies._streaming_heads import streaming_scores
from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MoA(Policy):
    """A head's span is `alpha + beta * N`; it keeps its first tokens and so many of the newest.

    Source: MoA, https://arxiv.org/abs/2406.14909, section 3.
    Differs: spans are scaled so that together they fill the budget, where the paper plans them for a density. Without
    a plan a head's span is the least that, with the sink tokens, holds `share` of the newest queries' attention; the
    paper profiles by gradients.
    """

    heads: Scores = ()
    """Alpha of each kv head of each layer, in tokens, 0 or more; empty: spans are found from the prompt."""
    slopes: Scores = ()
    """Beta of each kv head of each layer, 0 or more; empty for 0. Only beside `heads`."""
    num_sinks: int = 64
    """First tokens of each head; 0 or more."""
    share: float = 0.9
    """The share of attention that a span holds where no plan is given, in (0, 1]."""
    observation: int = 32
    """Newest queries by which spans are found where no plan is given; 1 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        for name in ("heads", "slopes"):
            table = table_of(name, getattr(self, name))
            object.__setattr__(self, name, table)
            check_least(0, **{name: min((value for row in table for value in row), default=0.0)})
        if self.slopes and [len(row) for row in self.slopes] != [len(row) for row in self.heads]:
            raise ConfigError("slopes is not of the shape of heads: give both for the same layers and kv heads")
        check_least(0, num_sinks=self.num_sinks)
        check_least(1, observation=self.observation)
        check_share(share=self.share)

    @property
    def num_queries(self) -> int:
        """The queries by which spans are found; none where a plan is given."""
        return 0 if self.heads else self.observation

    def score(self, view: LayerView) -> Tensor:
        """Return the order of sink tokens and newest tokens."""
        return streaming_scores(view, self.num_sinks, max(1, 4 * self.num_sinks))

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return how many tokens each head wants: sink tokens and span."""
        length = int(view.positions.max()) + 1
        alphas, slopes = row_of("heads", self.heads, view), row_of("slopes", self.slopes, view)
        spans = self._spans(view) if alphas is None else alphas
        if slopes is not None:
            spans = spans + slopes * length
        return (spans + self.num_sinks).clamp(min=1, max=length)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return the budget in proportion to what the heads want."""
        wanted = torch.stack(list(demands)).cpu()
        ceiling = max(num_tokens, max(layer.shape[-1] for layer in scores))
        return shares(wanted, num_tokens * wanted.numel(), floor=1, ceiling=ceiling)

    def _spans(self, view: LayerView) -> Tensor:
        """Return the least span of each head that holds its share of the attention: (kv_heads,) float32."""
        weights = view.attention(self.observation).mean(dim=1)
        asked = view.query_positions[view.query_positions.numel() - weights.shape[1] :]
        place = torch.arange(view.num_tokens, device=weights.device)
        is_sink = (place < self.num_sinks)[None, None]
        distance = (asked[None, :, None] - view.positions[:, None]).clamp(min=0)
        spans = []
        for row, away in zip(weights, distance, strict=True):
            needed = self.share * float(row.sum()) - float((row * is_sink[0]).sum())
            by_distance = torch.bincount(away.flatten(), weights=(row * ~is_sink[0]).flatten().double())
            spans.append(int((by_distance.cumsum(0) < needed - 1e-6).sum()) + 1 if needed > 0 else 1)
        return torch.tensor(spans, dtype=torch.float32)
