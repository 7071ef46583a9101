"""Scores by the attention of the newest queries, and the tokens that stay whatever the scores say."""

import torch
from torch import Tensor
from torch.nn import functional

from engramos.activation.policies import snapkv
from engramos.activation.policies._newest import window_of
from engramos.activation.policies.base import LayerView, is_newest
from engramos.activation.view import attention_weights

NEWEST = 1e6
"""The level of the newest tokens' scores: above any attention, and still in order among themselves.

Where the budget is smaller than the window, the newest tokens of it must win; equal scores would let the oldest win.
"""
QUERIES_AT_ONCE = 256
"""Attention weights are made for so many queries at once, so that memory stays bounded."""


def keep_newest(scores: Tensor, view: LayerView, num: int) -> Tensor:
    """Return scores in which the `num` newest positions outdo all others, the newest of them first.

    Args:
        scores: (kv_heads, tokens), below `NEWEST`.
        view: the layer.
        num: 0 or more.
    """
    age = (view.positions.max() - view.positions).float()
    return torch.where(is_newest(view, num), NEWEST - age, scores)


def pooled(scores: Tensor, kernel: int) -> Tensor:
    """Return each score's mean with its neighbours; beyond the ends there are zeros.

    Args:
        scores: (kv_heads, groups, tokens).
        kernel: odd.
    """
    return functional.avg_pool1d(scores, kernel_size=kernel, padding=kernel // 2, stride=1)


def mean_attention(view: LayerView, window: int) -> Tensor:
    """Return the mean attention of the newest queries, 0 where there is none: (kv_heads, groups, tokens)."""
    weights = view.attention(window)
    return weights.sum(dim=2) / max(1, weights.shape[2])


def window_votes(view: LayerView, window: int, kernel: int) -> Tensor:
    """Return the votes of SnapKV's observation window; of the window itself, the newest token comes first.

    Args:
        view: the layer.
        window: newest queries that vote, before the question's length limits it; 1 or more.
        kernel: neighbouring tokens that are averaged; odd.

    Returns:
        (kv_heads, tokens) float32.
    """
    return keep_newest(snapkv.window_votes(view, window, kernel), view, window_of(view, window))


def greatest_attention(view: LayerView, seen: Tensor | None = None) -> Tensor:
    """Return the greatest attention that each token gets from any query of the view.

    Args:
        view: the layer.
        seen: (kv_heads, tokens) bool: the tokens over which the softmax runs; all where None.

    Returns:
        (kv_heads, groups, tokens) float32.
    """
    positions = view.positions if seen is None else view.positions.masked_fill(~seen, -1)
    greatest = torch.zeros((view.kv_heads, view.groups, view.num_tokens), device=view.keys.device)
    for start in range(0, view.queries.shape[1], QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        weights = attention_weights(
            view.queries[:, part], view.query_positions[part], view.keys, positions, view.scaling
        )
        greatest = torch.maximum(greatest, weights.amax(dim=2))
    return greatest
