"""The cache of a batch whose rows share their beginning: one shared part, and a part of its own for each row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from engramos.activation.attention import attend_part, merged
from engramos.activation.stretch import SLACK_TOKENS, Stretch
from engramos.engines._cache import MemoryCache
from engramos.engines._layer import LayerShape


class BatchCache(Cache):
    """The cache of several sequences, as transformers' models take it.

    The shared part is held and read once for all rows. Its attention and that over a row's own part are merged into
    what one softmax over both would give.

    Source: RelayAttention, https://arxiv.org/abs/2402.14808, section 3.2.
    """

    def __init__(self, shapes: Sequence[LayerShape], prefix: MemoryCache | None, num_rows: int) -> None:
        """Begin with rows that have nothing of their own.

        Args:
            shapes: of the layers.
            prefix: what has read the shared beginning; it is not changed.
            num_rows: 1 or more.
        """
        super().__init__(layers=[])
        shared = [None] * len(shapes) if prefix is None else [layer.stretches[0] for layer in prefix.memory_layers]
        self._rows = [_Rows(shape, one, num_rows) for shape, one in zip(shapes, shared, strict=True)]
        self._num_read = 0 if prefix is None else prefix.next_position
        self._current: Tensor | None = None

    @contextmanager
    def passing(self, positions: Tensor) -> Iterator[None]:
        """Be the cache of one forward pass of the first rows.

        Args:
            positions: (rows, queries) int64; -1 where a row has no token.
        """
        self._current = positions
        try:
            yield
        finally:
            self._num_read += positions.shape[1]
            self._current = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of a layer in the current pass."""
        assert self._current is not None
        self._rows[layer_idx].append(key_states, value_states, self._current)
        return key_states, value_states

    def attend(self, layer_idx: int, query_states: Tensor, scaling: float) -> Tensor:
        """Return the attention of a layer in the current pass: (rows, heads, queries, head_dim)."""
        assert self._current is not None
        return self._rows[layer_idx].attend(query_states, self._current, scaling)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, in this order."""
        for one in self._rows:
            one.keep_rows(rows)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many tokens the longest row can have read."""
        return self._num_read


class _Rows:
    """One layer: the shared part, and columns of tokens of which each row has some."""

    def __init__(self, shape: LayerShape, shared: Stretch | None, num_rows: int) -> None:
        self._shape = shape
        self._shared = shared
        self._num_rows = num_rows
        self._num = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._positions: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        """Add columns to the first rows; other rows have no tokens in them."""
        rows, new = positions.shape
        end = self._num + new
        self._make_room(end, keys)
        assert self._keys is not None
        assert self._values is not None
        assert self._positions is not None
        self._keys[:rows, :, self._num : end] = keys
        self._values[:rows, :, self._num : end] = values
        self._positions[:rows, self._num : end] = positions
        self._num = end

    def attend(self, queries: Tensor, positions: Tensor, scaling: float) -> Tensor:
        """Return the attention of queries at these positions: (rows, heads, queries, head_dim)."""
        rows, heads, num, head_dim = queries.shape
        kv_heads = self._shape.kv_heads
        folded = queries.reshape(rows, kv_heads, heads // kv_heads * num, head_dim)
        assert self._keys is not None
        assert self._values is not None
        assert self._positions is not None
        mask = self._seen(self._positions[:rows, None, : self._num], positions[:, :, None])
        mask = mask.repeat(1, heads // kv_heads, 1)[:, None]
        keys, values = self._keys[:rows, :, : self._num], self._values[:rows, :, : self._num]
        part = attend_part(folded, keys, values, scaling, mask)
        if self._shared is not None:
            part = merged(self._attend_shared(folded, positions, scaling), part)
        return part[0].reshape(rows, heads, num, head_dim)

    def _attend_shared(self, folded: Tensor, positions: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
        """Return the attention of all rows over the shared part, which is read once for all of them."""
        assert self._shared is not None
        rows, kv_heads, packed, head_dim = folded.shape
        mask = None
        if self._shape.window is not None:
            seen = self._seen(self._shared.positions[:1, None], positions[:, :, None])
            mask = seen.repeat(1, packed // positions.shape[1], 1).reshape(1, rows * packed, -1)
        queries = folded.transpose(0, 1).reshape(kv_heads, rows * packed, head_dim)
        out, total = attend_part(queries, self._shared.keys, self._shared.values, scaling, mask)
        return (
            out.reshape(kv_heads, rows, packed, head_dim).transpose(0, 1),
            total.reshape(kv_heads, rows, packed).transpose(0, 1),
        )

    def _seen(self, at: Tensor, by: Tensor) -> Tensor:
        """Return which keys are seen by which queries; broadcasts."""
        seen = (at <= by) & (at >= 0)
        return seen if self._shape.window is None else seen & (at > by - self._shape.window)

    def _make_room(self, end: int, keys: Tensor) -> None:
        if self._keys is not None and end <= self._keys.shape[2]:
            return
        room = max(end, self._num + SLACK_TOKENS, self._num + self._num // 4)
        size = (self._num_rows, self._shape.kv_heads, room, self._shape.head_dim)
        new_keys, new_values = keys.new_zeros(size), keys.new_zeros(size)
        positions = torch.full((self._num_rows, room), -1, dtype=torch.int64, device=keys.device)
        if self._keys is not None:
            assert self._values is not None
            assert self._positions is not None
            new_keys[:, :, : self._num] = self._keys[:, :, : self._num]
            new_values[:, :, : self._num] = self._values[:, :, : self._num]
            positions[:, : self._num] = self._positions[:, : self._num]
        self._keys, self._values, self._positions = new_keys, new_values, positions

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Keep these rows alone."""
        self._num_rows = len(rows)
        if self._keys is None:
            return
        assert self._values is not None
        assert self._positions is not None
        at = torch.tensor(list(rows), dtype=torch.int64, device=self._keys.device)
        self._keys, self._values, self._positions = self._keys[at], self._values[at], self._positions[at]
