"""Rows of tokens in one pass that keeps the graph: what training and probing read, without a cache."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from engramos.engines._layer import LayerShape
from engramos.parametric.model import Packing, Prefix


class Rows(Cache):
    """Stands where transformers expects a cache: keeps keys and values of one layer for as long as it attends."""

    def __init__(
        self, shapes: Sequence[LayerShape], positions: Tensor, prefix: Prefix | None, packing: Packing | None = None
    ) -> None:
        """Be the pass of rows whose tokens stand at these positions: (1 or rows, tokens) int64, after the prefix."""
        super().__init__(layers=[])
        self._shapes, self._prefix, self._packing = shapes, prefix, packing
        self._masks: dict[tuple[int | None, int], Tensor] = {}
        self._own: tuple[Tensor, Tensor] | None = None
        self.newest: tuple[Tensor, Tensor] | None = None
        """Keys and values of the last layer that was read, without the prefix."""
        self._positions = positions

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Take the keys and values of a layer: (rows, kv_heads, tokens, head_dim)."""
        prefix = self._prefix
        self.newest = key_states, value_states
        if prefix is not None and layer_idx in prefix.keys:
            key_states, value_states = (
                torch.cat([_of_rows(first[layer_idx], own), own], dim=2)
                for first, own in ((prefix.keys, key_states), (prefix.values, value_states))
            )
        self._own = key_states, value_states
        return key_states, value_states

    def attend(self, layer_idx: int, query_states: Tensor, scaling: float) -> Tensor:
        """Return the attention of a layer: (rows, heads, tokens, head_dim); padding on the right reaches nobody."""
        assert self._own is not None
        keys, values = self._own
        self._own = None
        mask = self._mask(self._shapes[layer_idx].window, keys.shape[2] - query_states.shape[2])
        return torch.nn.functional.scaled_dot_product_attention(
            query_states, keys, values, attn_mask=mask, scale=scaling, enable_gqa=True
        )

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many tokens stand before the rows."""
        return 0 if self._prefix is None else self._prefix.num_tokens

    def _mask(self, window: int | None, first: int) -> Tensor:
        """Return what each token sees: (1 or rows, 1, tokens, first + tokens) bool."""
        known = (window, first)
        if known not in self._masks:
            far, is_there = self._unpacked(first) if self._packing is None else self._packed(self._packing, first)
            seen = far >= 0 if window is None else (far >= 0) & (far < window)
            self._masks[known] = (seen if is_there is None else seen & is_there)[:, None]
        return self._masks[known]

    def _unpacked(self, first: int) -> tuple[Tensor, Tensor | None]:
        """Return how far before each token each other one stands, and which ones are there; None for all."""
        own = self._positions
        before = torch.arange(first, device=own.device).expand(own.shape[0], -1)
        far = own[:, :, None] - torch.cat([before, own], dim=1)[:, None]
        lengths = None if self._prefix is None else self._prefix.lengths
        if lengths is None or not first:
            return far, None
        is_there = torch.ones_like(far, dtype=torch.bool)
        is_there[:, :, :first] = (before < lengths[:, None])[:, None]
        return far, is_there

    def _packed(self, packing: Packing, first: int) -> tuple[Tensor, Tensor]:
        """Return the same of tokens of several rows one after the other: only those of the own row are there."""
        before_rows, before = packing.before_rows[:first], packing.before_positions[:first]
        far = packing.positions[:, None] - torch.cat([before, packing.positions])[None]
        rows = torch.cat([before_rows, packing.rows])[None]
        return far[None], ((rows == packing.rows[:, None]) | (rows < 0))[None]


def _of_rows(first: Tensor, own: Tensor) -> Tensor:
    """Return a prefix's keys or values for each row."""
    return first.to(own) if first.ndim == 4 else first.to(own)[None].expand(own.shape[0], -1, -1, -1)
