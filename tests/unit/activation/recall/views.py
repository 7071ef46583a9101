"""Small layers for the tests of recall."""

import torch
from torch import Tensor

from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.activation.rope import Rope

torch.set_num_threads(1)

STILL = Rope(lambda positions: (torch.ones(*positions.shape, 1), torch.zeros(*positions.shape, 1)))
"""A rotation that turns nothing."""


def view_of(
    keys: Tensor,
    values: Tensor | None = None,
    *,
    queries: Tensor | None = None,
    start: int = 0,
    rope: Rope = STILL,
    phase: str = "prefill",
    **notes: Tensor,
) -> LayerView:
    """Return a layer with these keys at positions from `start`; queries stand behind them."""
    kv_heads, num_tokens, head_dim = keys.shape
    positions = torch.arange(start, start + num_tokens).expand(kv_heads, -1)
    if queries is None:
        queries = keys.new_zeros((kv_heads, 0, head_dim))
    at = start + num_tokens + torch.arange(queries.shape[1])
    values = keys.clone() if values is None else values
    wide = {name: note.float().expand(kv_heads, -1).clone() for name, note in notes.items()}
    return LayerView(0, 2, keys, values, positions, queries, at, 1.0, rope, phase, notes=wide)


def ask(
    method: Recall, filed: Filed, query: Tensor, num_tokens: int, *, start: int = 10_000, phase: str = "decode"
) -> Recalled:
    """Return what comes back for queries (heads, queries, head_dim) of a layer with one token at hand."""
    kv_heads = max(one.shape[0] for one in filed.tensors.values() if one.dim() == 3)
    nothing = torch.zeros(kv_heads, 1, query.shape[-1])
    return method.select(view_of(nothing, queries=query, start=start, phase=phase), filed, num_tokens)


def one_hot(place: int, size: int, length: float = 1.0) -> Tensor:
    """Return a vector along one axis."""
    vector = torch.zeros(size)
    vector[place] = length
    return vector
