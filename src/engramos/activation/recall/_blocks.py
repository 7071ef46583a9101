"""Segments of tokens described by one key: that of their representative tokens."""

import torch
from torch import Tensor

from engramos.activation.recall._choice import block_lengths, products
from engramos.activation.recall._filed import append, open_tokens, rows, take_whole
from engramos.activation.recall.base import Filed
from engramos.activation.view import LayerView

KEYS, IMPORTANCE, SEGMENTS = "keys", "importance", "segments"


def importance(view: LayerView) -> Tensor:
    """Return how well each token stands for its neighbours.

    It is the attention that it received where that is noted. Elsewhere it is the shortness of its key: models attend
    most to tokens with short keys (https://arxiv.org/abs/2406.11430), and of eight rules that need no queries this one
    found most of the attention that a question paid to 2,000 tokens of text.

    Returns:
        (kv_heads, tokens) float32.
    """
    received = view.notes.get("received")
    return received.float() if received is not None else -view.keys.float().norm(dim=-1)


def representative(keys: Tensor, weight: Tensor, num: int) -> Tensor:
    """Return the mean of the keys of the `num` most important tokens.

    The sum of a query's products with several keys is its product with their sum: one key stands for all of them.

    Args:
        keys: (..., tokens, head_dim).
        weight: (..., tokens).
        num: how many; all where there are fewer.
    """
    best = weight.topk(min(num, weight.shape[-1]), dim=-1).indices
    chosen = keys.gather(-2, best.unsqueeze(-1).expand(*best.shape, keys.shape[-1]))
    return chosen.float().mean(-2).to(keys.dtype)


def file_blocks(view: LayerView, filed: Filed, size: int, num: int) -> Filed:
    """Describe each whole block of a stretch by the mean of its representative keys; the rest stays open."""
    whole = take_whole(filed, {KEYS: view.keys, IMPORTANCE: importance(view)}, size)
    if whole[KEYS].shape[1]:
        append(filed, SEGMENTS, representative(whole[KEYS], whole[IMPORTANCE], num))
    filed.num_tokens += view.num_tokens
    return filed


def score_blocks(filed: Filed, query: Tensor, size: int, num: int) -> tuple[Tensor, Tensor]:
    """Return each block's score, the open one's too, and the blocks' lengths.

    Args:
        filed: as `file_blocks` left it, with 1 or more tokens.
        query: (kv_heads, groups, head_dim) float32.
        size: as in `file_blocks`.
        num: as in `file_blocks`.

    Returns:
        (kv_heads, groups, blocks) float32 and (blocks,) int64.
    """
    keys, weight = open_tokens(filed, KEYS), open_tokens(filed, IMPORTANCE)
    scores = [products(query, rows(filed, SEGMENTS, keys))]
    if keys.shape[1]:
        scores.append(products(query, representative(keys, weight, num).unsqueeze(1)))
    return torch.cat(scores, dim=-1), block_lengths(filed.num_tokens, size, keys.device)
