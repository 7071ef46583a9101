"""Which heads look for an earlier copy: scores from the attention over random tokens that are repeated.

The text is `repeat` random tokens, read two or more times in a row. A head that attends to the earlier copy of the
token it reads is an echo head; one that attends to the token after that copy is an induction head. Only these need
the far past.
"""

import math

import torch
from torch import Tensor

from engramos.errors import InvalidInputError


def echo_scores(attention: Tensor, repeat: int) -> Tensor:
    """Return how much attention goes from each token to its own earlier copies.

    Source: RazorAttention, https://arxiv.org/abs/2407.15891, section 3.2.
    Differs: of the query groups of a kv head the greatest counts, as their keys are kept or dropped together.

    Args:
        attention: (kv_heads, groups, queries, tokens) weights of the last queries of the repeated text.
        repeat: tokens after which the text begins anew, 2 or more.

    Returns:
        (kv_heads,) float32 in [0, 1].

    Raises:
        InvalidInputError: if no query stands in a repetition, or `repeat` is below 2.
    """
    return _attention_to_copies(attention, repeat, 0)


def induction_scores(attention: Tensor, repeat: int) -> Tensor:
    """Return how much attention goes from each token to the tokens after its earlier copies.

    Source: RazorAttention, https://arxiv.org/abs/2407.15891, section 3.2; induction heads are from
    https://arxiv.org/abs/2209.11895.

    Args:
        attention: as in `echo_scores`.
        repeat: as in `echo_scores`.

    Returns:
        (kv_heads,) float32 in [0, 1].

    Raises:
        InvalidInputError: if no query stands in a repetition, or `repeat` is below 2.
    """
    return _attention_to_copies(attention, repeat, 1)


def retrieval_scores(attention: Tensor, repeat: int) -> Tensor:
    """Return how often the token that gets most attention is the one that must be copied next.

    Source: Retrieval Head, https://arxiv.org/abs/2404.15574, section 2.
    Differs: the text to copy is the repetition itself, not a needle in a haystack; no token is produced.

    Args:
        attention: as in `echo_scores`.
        repeat: as in `echo_scores`.

    Returns:
        (kv_heads,) float32 in [0, 1]; the greatest of a head's query groups.

    Raises:
        InvalidInputError: if no query stands in a repetition, or `repeat` is below 2.
    """
    weights, is_copy = _in_repetition(attention, repeat, 1)
    strongest = weights.argmax(dim=-1, keepdim=True)
    hits = is_copy.expand(weights.shape).gather(-1, strongest).squeeze(-1)
    return hits.float().mean(dim=-1).amax(dim=-1)


def protected_heads(
    echo: Tensor, induction: Tensor, *, echo_share: float = 0.01, induction_share: float = 0.14
) -> Tensor:
    """Return which heads keep all tokens: the first by echo score and the first by induction score.

    Source: RazorAttention, https://arxiv.org/abs/2407.15891, section 3.2: 1 % and 14 % of all heads.

    Args:
        echo: (layers, kv_heads).
        induction: (layers, kv_heads).
        echo_share: of all heads, in [0, 1]; rounded up.
        induction_share: of all heads, in [0, 1]; rounded up.

    Returns:
        (layers, kv_heads) bool.
    """
    chosen = torch.zeros(echo.numel(), dtype=torch.bool)
    for scores, share in ((echo, echo_share), (induction, induction_share)):
        order = torch.argsort(scores.flatten(), descending=True, stable=True)
        chosen[order[: math.ceil(share * scores.numel())]] = True
    return chosen.reshape(echo.shape)


def _attention_to_copies(attention: Tensor, repeat: int, shift: int) -> Tensor:
    weights, is_copy = _in_repetition(attention, repeat, shift)
    return (weights * is_copy).sum(dim=-1).mean(dim=-1).amax(dim=-1)


def _in_repetition(attention: Tensor, repeat: int, shift: int) -> tuple[Tensor, Tensor]:
    """Return the weights of the queries that have an earlier copy, and which tokens stand `shift` after such a one."""
    num_queries, num_tokens = attention.shape[-2:]
    if repeat < 2 or num_tokens <= repeat or num_queries == 0:
        raise InvalidInputError(
            f"{num_tokens} tokens that repeat after {repeat}: read the random tokens twice or more, 2 or more of them"
        )
    asked = torch.arange(num_tokens - num_queries, num_tokens)
    is_repeated = asked >= repeat
    copy = torch.arange(num_tokens)[None] - shift
    back = asked[is_repeated][:, None] - copy
    is_copy = (copy >= 0) & (back >= repeat) & (back % repeat == 0)
    return attention[..., is_repeated, :].float(), is_copy.to(attention.device)
