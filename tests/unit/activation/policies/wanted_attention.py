"""Layers whose attention weights are chosen, for the tests of policies."""

import torch
from tests.unit.activation.policies.layers import layer_of
from torch import Tensor

from engramos.activation.view import LayerView


def attending(weights: Tensor, *, prompt_tokens: int | None = None, **given: object) -> LayerView:
    """Return a layer whose newest queries have these attention weights.

    Args:
        weights: (kv_heads, queries, tokens), >= 0; each row is scaled to 1 over what its query may see.
        prompt_tokens: of the view; all where None.
        given: further parts of the view.
    """
    kv_heads, _, num = weights.shape
    keys = torch.eye(num).repeat(kv_heads, 1, 1) * num**0.5
    view = layer_of(keys, queries=weights.clamp(min=1e-12).log(), **given)
    if prompt_tokens is not None:
        view.prompt_tokens = prompt_tokens
    return view


def even(num_queries: int, num_tokens: int, more: dict[int, float] | None = None) -> Tensor:
    """Return (queries, tokens) weights of 1, but for some tokens."""
    weights = torch.ones(num_queries, num_tokens)
    for place, weight in (more or {}).items():
        weights[:, place] = weight
    return weights
