"""Heads of a layer each keep their own best tokens, equally many; layers compete with such composite tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._counts import threshold_counts
from engramos.activation.policies._votes import greatest_attention
from engramos.activation.policies.base import LayerView, Policy
from engramos.activation.view import PROBE

SCORE = "kvcompose_score"
"""The note of the greatest attention that a token got from one group of query heads; the group's number follows."""


@dataclass(frozen=True, slots=True)
class KVCompose(Policy):
    """Composite token i of a layer is made of the i-th best token of each of its heads.

    The best composite tokens of all layers stay, by the mean of their parts' scores, so that all heads of a layer
    keep equally many. The first layer is worth, at each place, as much as the best layer there.

    Source: KVCompose, https://arxiv.org/abs/2509.05165; a token's score is the greatest attention it gets while the
    context is read again, averaged over a head's query groups, plus the mean over the layer's heads.
    Differs: every layer keeps at least one token within the budget, not beyond it.
    """

    mixes_heads: bool = True
    """Whether the mean of all heads' scores is added to each head's."""
    observes: ClassVar[bool] = True

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Return the context itself."""
        return [list(tokens)] if tokens else []

    def observe(self, view: LayerView) -> None:
        """Note the greatest attention that each token gets while the context is read again."""
        if view.phase != PROBE:
            return
        for group, greatest in enumerate(greatest_attention(view).unbind(dim=1)):
            view.notes[f"{SCORE}_{group}"] = torch.maximum(view.note(f"{SCORE}_{group}"), greatest)

    def score(self, view: LayerView) -> Tensor:
        """Return the mean of what was noted for the query groups."""
        noted = [note for name, note in view.notes.items() if name.startswith(SCORE)]
        scores = torch.stack(noted).mean(dim=0) if noted else view.note(f"{SCORE}_0")
        return scores + scores.mean(dim=0, keepdim=True) if self.mixes_heads else scores

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return how many composite tokens of each layer are among the best of all layers."""
        composite = [layer.float().sort(dim=-1, descending=True).values.mean(dim=0, keepdim=True) for layer in scores]
        longest = max(layer.shape[-1] for layer in composite)
        best = composite[0].new_full((len(composite), longest), float("-inf"))
        for row, layer in zip(best, composite, strict=True):
            row[: layer.shape[-1]] = layer[0]
        composite[0] = best.amax(dim=0, keepdim=True)[:, : composite[0].shape[-1]]
        return threshold_counts(composite, num_tokens).expand(-1, scores[0].shape[0]).clone()
