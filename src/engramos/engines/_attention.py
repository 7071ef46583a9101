"""The attention function that transformers calls on our caches."""

from typing import Any

from torch import Tensor
from transformers import AttentionInterface

from engramos.errors import UnsupportedError

NAME = "engramos"


def memory_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    memory: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention over what the layer's cache keeps: (batch, queries, heads, head_dim).

    transformers builds no mask for a name that it does not know, so layers and heads may keep what they like; the mask
    is made of positions instead.

    Args:
        module: the attention module; its `layer_idx` names the layer.
        query: (batch, heads, queries, head_dim), rotated.
        key: what `update` handed back; not looked at.
        value: the same.
        attention_mask: not looked at.
        dropout: must be 0: caches are for reading, not for training.
        scaling: of the scores.
        memory: the cache, which the engine hands to the model.
        kwargs: what models add.

    Raises:
        UnsupportedError: if the model asks for something that the function has not, or was called without its engine.
    """
    if memory is None:
        raise UnsupportedError("the model was called without its engine: use the engine's prefill and generate")
    if dropout or kwargs.get("softcap"):
        raise UnsupportedError("attention with dropout or a soft cap cannot be hosted: use another model")
    assert scaling is not None
    out = memory.attend(module.layer_idx, query, scaling)
    return out.transpose(1, 2), None


def register() -> None:
    """Make the function known to transformers under its name; again is no harm."""
    AttentionInterface.register(NAME, memory_attention)
