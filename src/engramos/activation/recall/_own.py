"""Keys and values of a method's own making, as they come back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.recall.base import Recalled


@dataclass(frozen=True, slots=True)
class Merged:
    """Merged tokens of one head."""

    keys: Tensor
    """(merged, head_dim)."""
    values: Tensor
    """(merged, head_dim)."""
    positions: Tensor
    """(merged,) int64."""
    weights: Tensor
    """(merged,) float32: how many tokens each stands for."""

    def at(self, places: Tensor) -> "Merged":
        """Return some of them."""
        return Merged(self.keys[places], self.values[places], self.positions[places], self.weights[places])


def best_merged(merged: Merged, query: Tensor, scaling: float, num: int) -> Merged:
    """Return the merged tokens that will have most attention, by rising position.

    Args:
        merged: of one head, keys rotated to their positions.
        query: (groups, head_dim) float32.
        scaling: of the scores.
        num: how many at most.
    """
    scores = query @ merged.keys.float().T * scaling + merged.weights.log()
    pooled = torch.log_softmax(scores, dim=-1).logsumexp(0)
    # of equal positions the order in which they are kept is that of time
    best = merged.at(pooled.topk(min(num, pooled.shape[0])).indices.sort().values)
    return best.at(best.positions.argsort(stable=True))


def recalled(heads: Sequence[Merged]) -> Recalled:
    """Return what comes back; heads that have fewer are filled up at the end with position -1 and weight 1."""
    longest = max(one.keys.shape[0] for one in heads)

    def stacked(parts: list[Tensor], filling: float) -> Tensor:
        wide = parts[0].new_full((len(parts), longest, *parts[0].shape[1:]), filling)
        for head, part in enumerate(parts):
            wide[head, : part.shape[0]] = part
        return wide

    return Recalled(
        keys=stacked([one.keys for one in heads], 0),
        values=stacked([one.values for one in heads], 0),
        positions=stacked([one.positions for one in heads], -1),
        weights=stacked([one.weights for one in heads], 1),
    )
