"""Cutting a cache back to the tokens that it shares with a prompt."""

from collections.abc import Sequence
from typing import Any

from engramos.errors import UnsupportedError


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two rows have in common at their beginning."""
    num = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        num += 1
    return num


def can_cut(cache: Any, num_tokens: int) -> bool:
    """Return whether the first tokens of a cache are all there: none was removed that the next one must see."""
    drop = cache.num_tokens - num_tokens
    if drop == 0:
        return True
    if cache.is_compact or drop < 0:
        return False
    for layer in cache.memory_layers:
        held = layer.num_tokens
        is_whole = held == cache.num_tokens and all(len(one) == held for one in layer.stretches)
        if not is_whole and (layer.shape.window is None or held - drop < layer.shape.window - 1):
            return False
    return True


def cut(cache: Any, num_tokens: int) -> None:
    """Remove all but the first tokens from a cache.

    Raises:
        UnsupportedError: if some of those were removed before.
    """
    if not can_cut(cache, num_tokens):
        raise UnsupportedError(
            f"a cache of {cache.num_tokens} tokens cannot be cut to {num_tokens}: "
            "a policy or a sliding layer has removed some of them; attach it whole"
        )
    if cache.num_tokens != num_tokens:
        cache.drop_last(cache.num_tokens - num_tokens)
