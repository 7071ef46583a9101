"""What a KV policy or a recall method sees of one layer of one sequence."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from engramos.activation.rope import Rope

PREFILL, DECODE, PROBE = "prefill", "decode", "probe"
"""Phases: reading the prompt; producing tokens; reading something only to see what it attends to."""


@dataclass(slots=True)
class LayerView:
    """One layer of one sequence, after a forward pass has added its keys.

    Where heads keep different numbers of tokens, shorter ones are filled up at the end with position -1.
    """

    layer: int
    """Counted from 0."""
    num_layers: int
    keys: Tensor
    """(kv_heads, tokens, head_dim), rotated."""
    values: Tensor
    """(kv_heads, tokens, head_dim)."""
    positions: Tensor
    """(kv_heads, tokens) int64, rising along the tokens; -1 where there is no token."""
    queries: Tensor
    """(heads, queries, head_dim), rotated: the newest ones, as many as the method asks for and there are."""
    query_positions: Tensor
    """(queries,) int64."""
    scaling: float
    """What scores are multiplied by before the softmax."""
    rope: Rope
    phase: str = PREFILL
    prompt_tokens: int = 0
    """Positions below it belong to the prompt."""
    question_tokens: int = 0
    """How many of the prompt's last tokens are the question; 0 where it is not known."""
    notes: dict[str, Tensor] = field(default_factory=dict)
    """(kv_heads, tokens) float32 each: numbers kept beside the tokens. What `needs` names, and what `observe` wrote."""
    _attention: dict[int, Tensor] = field(default_factory=dict)

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.keys.shape[0]

    @property
    def num_tokens(self) -> int:
        """Tokens of the longest head."""
        return self.keys.shape[1]

    @property
    def groups(self) -> int:
        """Query heads for each head of keys."""
        return self.queries.shape[0] // self.keys.shape[0]

    def attention(self, num_queries: int | None = None) -> Tensor:
        """Return the attention weights of the last queries, each over the tokens up to its own position.

        Args:
            num_queries: how many; all that are here where None, or where there are fewer.

        Returns:
            (kv_heads, groups, queries, tokens) float32; 0 where there is no token.
        """
        num = self.queries.shape[1] if num_queries is None else min(num_queries, self.queries.shape[1])
        if num not in self._attention:
            self._attention[num] = attention_weights(
                self.queries[:, -num:] if num else self.queries[:, :0],
                self.query_positions[-num:] if num else self.query_positions[:0],
                self.keys,
                self.positions,
                self.scaling,
            )
        return self._attention[num]

    def note(self, name: str) -> Tensor:
        """Return the numbers of this name, made of zeros where there are none yet."""
        if name not in self.notes:
            self.notes[name] = torch.zeros(self.positions.shape, dtype=torch.float32, device=self.keys.device)
        return self.notes[name]


def attention_weights(
    queries: Tensor, query_positions: Tensor, keys: Tensor, positions: Tensor, scaling: float
) -> Tensor:
    """Return softmax weights of queries over keys at or before each query's position.

    Args:
        queries: (heads, queries, head_dim).
        query_positions: (queries,).
        keys: (kv_heads, tokens, head_dim).
        positions: (kv_heads, tokens); -1 where there is no token.
        scaling: of the scores.

    Returns:
        (kv_heads, groups, queries, tokens) float32; a query before all tokens has weights of 0.
    """
    kv_heads, num_tokens, head_dim = keys.shape
    grouped = queries.reshape(kv_heads, queries.shape[0] // kv_heads, queries.shape[1], head_dim).float()
    scores = torch.einsum("hgqd,htd->hgqt", grouped, keys.float()) * scaling
    may_see = (positions[:, None, :] <= query_positions[None, :, None]) & (positions[:, None, :] >= 0)
    scores.masked_fill_(~may_see[:, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return torch.nan_to_num_(weights, nan=0.0) if num_tokens else weights
