"""Attention over kept tokens: masks by position, weights of merged tokens, and parts that were computed apart."""

import torch
import torch.nn.functional as functional
from torch import Tensor


def attend(
    queries: Tensor,
    query_positions: Tensor,
    keys: Tensor,
    values: Tensor,
    positions: Tensor,
    scaling: float,
    *,
    window: int | None = None,
    bias: Tensor | None = None,
    num_before: int = 0,
) -> Tensor:
    """Return the attention of queries over the keys that they may see.

    A query sees the keys at its own position and before; with a window, only those fewer than `window` before it.

    Args:
        queries: (heads, queries, head_dim).
        query_positions: (queries,) int64.
        keys: (kv_heads, tokens, head_dim).
        values: (kv_heads, tokens, head_dim).
        positions: (kv_heads, tokens) int64, or (1, tokens) where heads do not differ; -1 where there is no token.
        scaling: of the scores.
        window: of a sliding layer, in tokens.
        bias: (kv_heads, tokens) added to the scores, such as the logarithm of how many tokens a key stands for.
        num_before: the first so many tokens are known to be seen by every query; lets one query do without a mask.

    Returns:
        (heads, queries, head_dim) of the queries' dtype.
    """
    heads, num_queries, head_dim = queries.shape
    kv_heads, num_tokens, _ = keys.shape
    groups = heads // kv_heads
    # the query heads of one head of keys are as many queries to it: keys are never repeated
    packed = queries.reshape(kv_heads, groups * num_queries, head_dim)
    sees_all = num_before == num_tokens or (num_queries == 1 and num_before >= num_tokens - 1)
    mask = None
    if not sees_all or window is not None:
        may_see = _may_see(query_positions, positions, window)
        mask = may_see.repeat(1, groups, 1) if groups > 1 else may_see
    if bias is not None:
        added = bias[:, None, :].to(queries.dtype).expand(-1, groups * num_queries, -1)
        mask = added if mask is None else added.masked_fill(~mask, float("-inf"))
    out = functional.scaled_dot_product_attention(
        packed[None], keys[None], values[None], attn_mask=None if mask is None else mask[None], scale=scaling
    )[0]
    return out.reshape(heads, num_queries, head_dim)


def _may_see(query_positions: Tensor, positions: Tensor, window: int | None) -> Tensor:
    """Return (kv_heads or 1, queries, tokens) bool."""
    at, by = positions[:, None, :], query_positions[None, :, None]
    may_see = (at <= by) & (at >= 0)
    if window is not None:
        may_see &= at > by - window
    return may_see


def attend_part(
    queries: Tensor, keys: Tensor, values: Tensor, scaling: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the attention over one part of the keys, and the logarithm of its softmax's denominator.

    Args:
        queries: (..., kv_heads, queries, head_dim): query heads folded into the queries of their head of keys.
        keys: (..., kv_heads, tokens, head_dim), with 1 or more tokens.
        values: as keys.
        scaling: of the scores.
        mask: broadcasts with (..., kv_heads, queries, tokens); True where a query sees a key.

    Returns:
        (..., kv_heads, queries, head_dim), and (..., kv_heads, queries) in float32; a query that sees nothing has
        zeros and -inf.
    """
    scores = (queries @ keys.transpose(-1, -2)).float() * scaling
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    total = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - total.clamp(min=torch.finfo(torch.float32).min).unsqueeze(-1))
    return weights.to(values.dtype) @ values, total


def merged(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return one attention made of two over disjoint keys: equal to one softmax over all of them.

    Source: RelayAttention, https://arxiv.org/abs/2402.14808, section 3.2; the same identity is in FlashAttention.

    Args:
        first: attention and logarithm of the denominator, as `attend_part` returns them.
        second: the same over the other keys.
    """
    total = torch.logaddexp(first[1], second[1])
    safe = total.clamp(min=torch.finfo(torch.float32).min)
    shares = [torch.exp(part[1] - safe).unsqueeze(-1).to(part[0].dtype) for part in (first, second)]
    return first[0] * shares[0] + second[0] * shares[1], total
