"""Keep the tokens that stand out against the part of the text that follows."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._ties import best_by_topk
from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, LayerView, Policy, best
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LagKV(Policy):
    """Each part of the text is measured against the range of the next one; uneven keys and values rank high.

    The sinks, the last part and what follows it stay. No attention is needed.

    Source: LagKV, https://arxiv.org/abs/2504.04704, section 2.
    Differs: parts are compared by rank, and equal ranks are left to torch's top-k, as kvpress leaves them.
    """

    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    lag: int = 128
    """Tokens of a part; 2 or more."""
    is_ordered: bool = False
    """Whether, of equal ranks, sinks win and then the newest tokens; it helps where the budget is below two parts."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")
        if self.lag < 2:
            raise ConfigError(f"lag is {self.lag}: give 2 tokens or more")

    def score(self, view: LayerView) -> Tensor:
        """Return ranks within parts, in [0, 1); where there are fewer than two parts, the newer the better."""
        scores = torch.zeros(view.positions.shape, dtype=torch.float32, device=view.keys.device)
        for head, num in enumerate((view.positions >= 0).sum(dim=1).tolist()):
            scores[head, :num] = self._ranks(view.keys[head, :num].float(), view.values[head, :num].float())
        return scores

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of the best ranks; `is_ordered` says which of equal ones."""
        return [self._best(row, int(count)) for row, count in zip(scores, counts, strict=True)]

    def _ranks(self, keys: Tensor, values: Tensor) -> Tensor:
        num = keys.shape[0]
        ranks = torch.full((num,), PROTECTED, device=keys.device)
        num_parts = (num - self.num_sinks) // self.lag
        if num_parts < 2:
            rest = max(num - self.num_sinks, 0)
            ranks[num - rest :] = torch.arange(rest, device=keys.device) / max(rest, 1)
            return ranks
        end = self.num_sinks + num_parts * self.lag
        uneven = (self._uneven(keys[self.num_sinks : end]) + self._uneven(values[self.num_sinks : end])) / 2
        order = uneven.argsort(dim=-1).argsort(dim=-1)
        ranks[self.num_sinks : end - self.lag] = (order / self.lag).flatten()
        return ranks

    def _uneven(self, vectors: Tensor) -> Tensor:
        """Return for each token of all parts but the last how uneven it is in the range of the next part."""
        parts = vectors.reshape(-1, self.lag, vectors.shape[-1])
        low, high = parts[1:].amin(dim=1, keepdim=True), parts[1:].amax(dim=1, keepdim=True)
        scaled = (parts[:-1] - low) / (high - low).clamp(min=1e-12)
        return torch.softmax(scaled.std(dim=-1), dim=-1)

    def _best(self, scores: Tensor, count: int) -> Tensor:
        if not self.is_ordered:
            return best_by_topk(scores, count)
        places = torch.arange(len(scores), device=scores.device)
        # newest first among equals: the order is turned, but for the sinks
        turned = torch.cat((places[: self.num_sinks], places[self.num_sinks :].flip(0)))
        return turned[best(scores[turned], count)].sort().values
