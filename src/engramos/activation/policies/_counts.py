"""Budgets that differ between layers or heads: how many tokens each keeps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.activation.budgets import shares


def tokens_held(scores: Sequence[Tensor]) -> Tensor:
    """Return how many tokens each head has, padding not counted: (layers, kv_heads) int64."""
    return torch.stack([(layer > float("-inf")).sum(dim=-1) for layer in scores]).cpu()


def layer_counts(scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int, *, floor_share: float) -> Tensor:
    """Return budgets of layers in proportion to their heads' mean demand; heads of a layer keep equally many.

    Args:
        scores: of each layer: (kv_heads, tokens).
        demands: of each layer: (kv_heads,), >= 0.
        num_tokens: what a head may keep on average.
        floor_share: the share of the mean budget that every layer gets.

    Returns:
        (layers, kv_heads) int64.
    """
    wanted = torch.stack([one.float().mean().cpu() for one in demands])
    floor = max(1, int(num_tokens * floor_share))
    ceiling = max(num_tokens, max(layer.shape[-1] for layer in scores))
    counts = shares(wanted, num_tokens * len(scores), floor=floor, ceiling=ceiling)
    return counts[:, None].expand(-1, scores[0].shape[0]).clone()


def threshold_counts(scores: Sequence[Tensor], num_tokens: int) -> Tensor:
    """Return how many tokens of each head are among the best of all layers and heads together.

    Each head keeps at least its best one. Of equal scores those come first that stand higher within their own head.

    Args:
        scores: of each layer: (kv_heads, tokens); padding is -inf.
        num_tokens: what a head may keep on average.

    Returns:
        (layers, kv_heads) int64.
    """
    longest = max(layer.shape[-1] for layer in scores)
    ranked = torch.full((len(scores), scores[0].shape[0], longest), float("-inf"))
    for row, layer in zip(ranked, scores, strict=True):
        row[:, : layer.shape[-1]] = layer.float().sort(dim=-1, descending=True).values
    ranked[:, :, 0] = float("inf")
    num_heads = ranked.shape[0] * ranked.shape[1]
    by_rank = ranked.permute(2, 0, 1).flatten()
    total = min(num_tokens * num_heads, int((by_rank > float("-inf")).sum()))
    chosen = torch.argsort(by_rank, descending=True, stable=True)[:total]
    return torch.bincount(chosen % num_heads, minlength=num_heads).reshape(ranked.shape[:2])


def head_counts(demands: Tensor, held: Tensor, num_tokens: int, *, streaming: int, most: int | None = None) -> Tensor:
    """Return budgets in which the heads of greatest demand keep all, the others a short stretch.

    Where the budget is below twice the stretch, the stretch takes half of it, so that some heads can keep more.

    Args:
        demands: (layers, kv_heads): the greatest come first.
        held: (layers, kv_heads): tokens of each head.
        num_tokens: what a head may keep on average.
        streaming: tokens of a streaming head, 1 or more.
        most: at most so many heads keep all; the rest of the budget lengthens the others' stretches up to `streaming`.
            None for as many as the budget allows, the last one in part.

    Returns:
        (layers, kv_heads) int64; their mean is at most `num_tokens`.
    """
    short = max(1, min(streaming, num_tokens // 2))
    flat = held.flatten()
    counts = flat.clamp(min=1, max=short)
    left = num_tokens * flat.numel() - int(counts.sum())
    order = torch.argsort(demands.flatten(), descending=True, stable=True)
    for at in order[:most].tolist():
        added = min(left, max(0, int(flat[at] - counts[at])))
        counts[at] += added
        left -= added
    if most is not None:
        others = order[most:]
        room = (flat[others].clamp(max=streaming) - counts[others]).clamp(min=0)
        total = min(left, int(room.sum()))
        if total > 0:
            counts[others] += shares(room, total, floor=0, ceiling=int(room.max()))
    return counts.reshape(held.shape)
