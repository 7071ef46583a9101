"""Heads that keep their first tokens and their newest ones, and how to tell which heads can live on that."""

import torch
from torch import Tensor

from engramos.activation.policies.base import DECODE, LayerView


def streaming_scores(view: LayerView, num_sinks: int, window: int) -> Tensor:
    """Return scores by which a head keeps sink tokens and newest tokens, whatever its budget.

    With a budget of `num_sinks + window` it keeps exactly these; with less, both in the same proportion; with more,
    the newest before them.

    Args:
        view: the layer.
        num_sinks: 0 or more.
        window: 1 or more.

    Returns:
        (kv_heads, tokens) float32.
    """
    place = torch.arange(view.num_tokens, device=view.positions.device).expand(view.positions.shape).double()
    held = (view.positions >= 0).sum(dim=-1, keepdim=True)
    age = held - 1 - place
    whole = num_sinks + window
    turn = torch.where(age < window, (age + 0.5) * whole / window, num_sinks + age + 0.5)
    if num_sinks:
        as_sink = torch.where(place < num_sinks, (place + 0.5) * whole / num_sinks, float("inf"))
        turn = torch.minimum(turn, as_sink)
    return -turn.float()


def attention_outside(view: LayerView, num_queries: int, num_sinks: int, window: int) -> Tensor:
    """Return the share of attention that goes neither to sink tokens nor to the newest ones before each query.

    In a context shorter than four windows, a quarter of it counts as the window, and at most an eighth as sinks.

    Args:
        view: the layer.
        num_queries: the newest queries that are asked.
        num_sinks: 0 or more.
        window: 1 or more.

    Returns:
        (kv_heads,) float32 in [0, 1]; the greatest of a head's query groups.
    """
    weights = view.attention(num_queries)
    num = weights.shape[2]
    if not num:
        return torch.zeros(view.kv_heads)
    sinks = min(num_sinks, max(1, view.num_tokens // 8))
    recent = min(window, max(1, view.num_tokens // 4))
    place = torch.arange(view.num_tokens, device=view.positions.device)
    asked = view.query_positions[-num:]
    is_far = (place >= sinks)[None, None] & (view.positions[:, None] <= asked[None, :, None] - recent)
    return (weights * is_far[:, None]).sum(dim=-1).mean(dim=-1).amax(dim=-1)


def standing(view: LayerView, scores: Tensor) -> Tensor:
    """Return head scores to which, while tokens are produced, the number of tokens that a head still has is added.

    A head that gave up its middle cannot get it back: the one that has more goes on keeping more.

    Args:
        view: the layer.
        scores: (kv_heads,) in [0, 1].
    """
    if view.phase != DECODE:
        return scores
    return scores + (view.positions >= 0).sum(dim=-1).float()
