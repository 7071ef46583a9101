"""What the queries of a pass ask for, and the places that answer best."""

import torch
from torch import Tensor

from engramos.activation.recall.base import Recalled
from engramos.activation.view import LayerView


def asking(view: LayerView, turned: Tensor | None = None) -> Tensor:
    """Return the queries of this pass that decide: those of the question where they are known and among them.

    Args:
        view: of this pass.
        turned: its queries at other positions; as they are where None.

    Returns:
        (kv_heads, groups, queries, head_dim) float32.
    """
    queries = (view.queries if turned is None else turned).float()
    begin = view.prompt_tokens - view.question_tokens
    is_question = (view.query_positions >= begin) & (view.query_positions < view.prompt_tokens)
    if view.question_tokens and bool(is_question.any()):
        queries = queries[:, is_question]
    return queries.unflatten(0, (view.kv_heads, -1))


def probe(view: LayerView, turned: Tensor | None = None) -> Tensor:
    """Return one query for each head: the mean of those that ask, each of them counted alike whatever its length.

    Args:
        view: of this pass.
        turned: as in `asking`.

    Returns:
        (kv_heads, groups, head_dim) float32, as long as the queries are on average; zeros where there are none.
    """
    queries = asking(view, turned)
    if not queries.shape[2]:
        return queries.sum(2)
    lengths = queries.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return (queries / lengths).mean(2) * lengths.mean(2)


def products(query: Tensor, keys: Tensor) -> Tensor:
    """Return the inner products of queries and keys.

    Args:
        query: (kv_heads, groups, head_dim) float32.
        keys: (kv_heads, keys, head_dim).

    Returns:
        (kv_heads, groups, keys) float32.
    """
    return query @ keys.float().transpose(1, 2)


def pooled(scores: Tensor, scaling: float) -> Tensor:
    """Return one score for all query heads of a key head: the logarithm of the mean of their softmaxes.

    A head that is sure of its key counts for more than heads that are not. The logarithm keeps the order of scores that
    a softmax rounds to zero.

    Args:
        scores: (kv_heads, groups, keys).
        scaling: of the scores before the softmax.

    Returns:
        (kv_heads, keys).
    """
    return torch.log_softmax(scores * scaling, dim=-1).logsumexp(dim=1)


def nothing(view: LayerView) -> Recalled:
    """Return that nothing comes back."""
    return Recalled(places=torch.zeros((view.kv_heads, 0), dtype=torch.int64, device=view.keys.device))


def best_tokens(scores: Tensor, num_tokens: int) -> Recalled:
    """Return the places of the best scores of each head, rising.

    Args:
        scores: (kv_heads, tokens).
        num_tokens: how many at most.
    """
    best = scores.topk(min(num_tokens, scores.shape[1]), dim=1).indices
    return Recalled(places=best.sort(dim=1).values)


def best_segments(scores: Tensor, lengths: Tensor, num_tokens: int) -> Recalled:
    """Return the places of the best segments of each head; of the last one that does not fit whole, the beginning.

    Args:
        scores: (kv_heads, segments).
        lengths: (segments,) int64, tokens of each, 1 or more; together they are the archive from its beginning.
        num_tokens: how many tokens at most.
    """
    # so many are enough: every one but the last gives at least the least length
    enough = min(lengths.numel(), num_tokens // int(lengths[:-1].min() if lengths.numel() > 1 else 1) + 2)
    order = scores.topk(enough, dim=1).indices
    return Recalled(places=places_of(order, lengths, num_tokens))


def places_of(order: Tensor, lengths: Tensor, num_tokens: int) -> Tensor:
    """Return the places of segments that are taken one by one until the room is full.

    Args:
        order: (kv_heads, chosen) int64, segments of each head, the best first.
        lengths: (segments,) int64; together they are the archive from its beginning.
        num_tokens: the room.

    Returns:
        (kv_heads, recalled) int64, rising; -1 at the end where a head has fewer.
    """
    starts = lengths.cumsum(0) - lengths
    wanted = lengths[order]
    before = wanted.cumsum(1) - wanted
    taken = torch.minimum(wanted, (num_tokens - before).clamp_min(0))
    totals = taken.sum(1)
    places = torch.full((order.shape[0], int(totals.max())), torch.iinfo(torch.int64).max, device=order.device)
    for head in range(order.shape[0]):
        first = taken[head].cumsum(0) - taken[head]
        shift = torch.repeat_interleave(starts[order[head]] - first, taken[head])
        places[head, : int(totals[head])] = torch.arange(int(totals[head]), device=order.device) + shift
    places = places.sort(dim=1).values
    return places.masked_fill(places == torch.iinfo(torch.int64).max, -1)


def block_lengths(num_tokens: int, size: int, device: torch.device) -> Tensor:
    """Return the lengths of blocks of one size, the last of them what is left."""
    whole, left = divmod(num_tokens, size)
    return torch.tensor([size] * whole + [left] * (left > 0), dtype=torch.int64, device=device)
