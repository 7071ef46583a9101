"""The KV cache of one sequence as tensors: what a KV cube holds, decoded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs.base import DTYPES
from engramos.errors import InvalidInputError

FULL, SLIDING = "full", "sliding"
"""Kinds of layers: those that see every token before, and those that see a window."""
KINDS = (FULL, SLIDING)


@dataclass(frozen=True, slots=True)
class KVLayer:
    """Keys and values of one layer: all heads with equally many tokens, or ragged, each head by itself.

    Raises:
        InvalidInputError: if shapes, dtypes or positions do not fit together.
    """

    keys: Tensor | tuple[Tensor, ...]
    """(kv_heads, tokens, head_dim), rotated to the positions; ragged: of each head (tokens, head_dim)."""
    values: Tensor | tuple[Tensor, ...]
    """As the keys."""
    positions: Tensor | tuple[Tensor, ...] | None = None
    """(kv_heads, tokens) int64, rising along the tokens; ragged: of each head (tokens,). None where no token was
    removed: they are 0, 1, 2, ..."""
    kind: str = FULL
    """`full` or `sliding`."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(f"a layer of kind {str(self.kind)[:40]!r}: use {' or '.join(KINDS)}")
        keys, values = self.heads("keys"), self.heads("values")
        if not keys or any(one.dim() != 2 for one in keys) or len({one.shape[1] for one in keys}) != 1:
            raise InvalidInputError(
                "keys of a layer must be (kv_heads, tokens, head_dim), or (tokens, head_dim) a head"
            )
        if [one.shape for one in keys] != [one.shape for one in values] or self.is_ragged != isinstance(
            self.values, tuple
        ):
            raise InvalidInputError("keys and values of a layer differ in shape")
        if len({one.dtype for one in (*keys, *values)}) != 1 or keys[0].dtype not in DTYPES.values():
            raise InvalidInputError(f"keys and values of a layer must have one dtype of {', '.join(DTYPES)}")
        if self.positions is not None:
            self._check_positions()
        elif self.is_ragged:
            raise InvalidInputError("a ragged layer needs positions: tokens were removed from it")

    @classmethod
    def of_padded(cls, keys: Tensor, values: Tensor, positions: Tensor, num_tokens: int, kind: str = FULL) -> "KVLayer":
        """Return a layer from heads that are filled up at the end, where their positions are -1.

        Args:
            keys: (kv_heads, tokens, head_dim).
            values: as the keys.
            positions: (kv_heads, tokens).
            num_tokens: that were encoded; a layer that has as many needs no positions.
            kind: `full` or `sliding`.
        """
        counts = (positions >= 0).sum(dim=-1).tolist()
        if len(set(counts)) == 1:
            num = counts[0]
            keys, values, positions = keys[:, :num], values[:, :num], positions[:, :num]
            return cls(keys, values, None if num == num_tokens else positions, kind)
        cut = [tuple(one[head, :num] for head, num in enumerate(counts)) for one in (keys, values, positions)]
        return cls(cut[0], cut[1], cut[2], kind)

    @property
    def is_ragged(self) -> bool:
        """Whether heads keep different numbers of tokens."""
        return isinstance(self.keys, tuple)

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return len(self.keys)

    @property
    def head_dim(self) -> int:
        """Numbers in one key."""
        return self.keys[0].shape[-1]

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens of each head."""
        return tuple(one.shape[0] for one in self.keys)

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.keys[0].dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values."""
        return sum(one.numel() * one.element_size() for one in (*self.heads("keys"), *self.heads("values")))

    def heads(self, name: str) -> tuple[Tensor, ...]:
        """Return `keys`, `values` or `positions` of each head: (tokens, head_dim), or (tokens,)."""
        whole = getattr(self, name)
        if whole is None:
            row = torch.arange(self.counts[0], device=self.keys[0].device)
            return (row,) * self.kv_heads
        return whole if isinstance(whole, tuple) else tuple(whole.unbind(0)) if whole.dim() else ()

    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and positions with shorter heads filled up at the end; there the positions are -1.

        A layer that is not ragged gives its own keys and values, not copies.

        Returns:
            (kv_heads, tokens, head_dim) twice, and (kv_heads, tokens) int64.
        """
        positions = torch.nn.utils.rnn.pad_sequence(list(self.heads("positions")), batch_first=True, padding_value=-1)
        if not self.is_ragged:
            assert isinstance(self.keys, Tensor)
            assert isinstance(self.values, Tensor)
            return self.keys, self.values, positions
        both = [torch.nn.utils.rnn.pad_sequence(list(self.heads(one)), batch_first=True) for one in ("keys", "values")]
        return both[0], both[1], positions

    def _check_positions(self) -> None:
        rows = self.heads("positions")
        if [tuple(one.shape) for one in rows] != [(num,) for num in self.counts]:
            raise InvalidInputError("positions of a layer must be one for each token of each head")
        if any(one.dtype != torch.int64 for one in rows):
            raise InvalidInputError("positions of a layer must be int64")
        for row in rows:
            if row.numel() and (int(row[0]) < 0 or bool((row[1:] <= row[:-1]).any())):
                raise InvalidInputError(
                    "positions of a layer must be 0 or more, and rise along the tokens of each head"
                )


@dataclass(frozen=True, slots=True)
class KVTensors:
    """The KV cache of one sequence. Never written to: who appends to it, copies first.

    Raises:
        InvalidInputError: if layers and tokens do not fit together.
    """

    token_ids: tuple[int, ...]
    """All tokens that were encoded, those too whose keys were removed; 1 or more."""
    layers: tuple[KVLayer, ...]
    """1 or more, of one dtype."""

    def __post_init__(self) -> None:
        num_tokens = len(self.token_ids)
        if not num_tokens or not self.layers:
            raise InvalidInputError("a KV cache needs a token and a layer")
        if min(self.token_ids) < 0 or max(self.token_ids) >= 2**31:
            raise InvalidInputError("token ids of a KV cache must lie in [0, 2**31)")
        if len({one.dtype for one in self.layers}) != 1:
            raise InvalidInputError("all layers of a KV cache must have one dtype")
        for at, layer in enumerate(self.layers):
            if layer.positions is None and layer.counts[0] != num_tokens:
                raise InvalidInputError(f"layer {at} has {layer.counts[0]} tokens of {num_tokens} and no positions")
            last = max((int(row[-1]) for row in layer.heads("positions") if row.numel()), default=0)
            if last >= num_tokens:
                raise InvalidInputError(f"layer {at} has position {last}, and there are {num_tokens} tokens")
        if not self.kept_ratio > 0:
            raise InvalidInputError("no token is left in this KV cache: keep one at least")

    @property
    def num_tokens(self) -> int:
        """Tokens that were encoded."""
        return len(self.token_ids)

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values."""
        return sum(one.num_bytes for one in self.layers)

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.layers[0].dtype

    @property
    def kept_ratio(self) -> float:
        """Kept tokens by all tokens, see `kept_ratio_of`."""
        return kept_ratio_of([(one.counts, one.kind) for one in self.layers], self.num_tokens)


def kept_ratio_of(layers: Sequence[tuple[Sequence[int], str]], num_tokens: int) -> float:
    """Return kept tokens by all tokens, over all heads of the full layers.

    Sliding layers lose tokens by their nature and not by a policy: they count only where there are no others.

    Args:
        layers: tokens of each head, and the kind, of each layer.
        num_tokens: that were encoded, >= 1.
    """
    counted = [counts for counts, kind in layers if kind == FULL] or [counts for counts, _ in layers]
    return sum(map(sum, counted)) / (num_tokens * sum(map(len, counted)))


__all__ = ["FULL", "KINDS", "SLIDING", "KVLayer", "KVTensors", "kept_ratio_of"]
