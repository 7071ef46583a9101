"""A model's decoder layers, called one by one."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from engramos.engines._cache import empty_cache
from engramos.engines._layer import LayerShape, Pass
from engramos.engines._shapes import decoder_of, text_config
from engramos.errors import UnsupportedError

_PROVEN: WeakSet[Any] = WeakSet()
"""Models whose layers one by one gave what the model gives."""
_NUM_PROBED = 3
TOLERANCE = 1e-3
"""How far the two may lie apart, by the largest number."""


class Decoder:
    """The decoder of a model: embeddings, and layers that are called with the tokens of one's choice.

    Raises:
        UnsupportedError: if the model does more between its layers than a plain decoder.
    """

    def __init__(self, model: Any, shapes: Sequence[LayerShape]) -> None:
        """Walk the layers of this model of transformers, which have these shapes."""
        self._model = model
        self._inner = decoder_of(model)
        rotary = self._inner.rotary_emb
        kinds = getattr(text_config(model), "layer_types", None)
        # Gemma 3 rotates by another base in sliding layers, and keeps both in one module
        self._kinds = tuple(kinds) if isinstance(rotary.rope_type, dict) else (None,) * len(self._inner.layers)
        if model not in _PROVEN:
            self._prove(shapes)
            _PROVEN.add(model)

    @property
    def num_layers(self) -> int:
        """How many layers."""
        return len(self._inner.layers)

    def embedded(self, token_ids: Sequence[int]) -> Tensor:
        """Return tokens as the first layer reads them: (tokens, hidden)."""
        ids = torch.tensor([list(token_ids)], device=self._model.device)
        return self._inner.embed_tokens(ids)[0]

    def rotations(self, hidden: Tensor, positions: Tensor) -> dict[str | None, tuple[Tensor, Tensor]]:
        """Return what turns queries and keys to these positions, by the kind of layer.

        Args:
            hidden: only its dtype and device matter.
            positions: (tokens,) int64; or (rows, tokens) for rows.
        """
        out = {}
        places = positions if positions.ndim == 2 else positions[None]
        for kind in dict.fromkeys(self._kinds):
            asked = () if kind is None else (kind,)
            out[kind] = self._inner.rotary_emb(hidden[None], places, *asked)
        return out

    def run(
        self,
        layer: int,
        hidden: Tensor,
        positions: Tensor,
        rotations: dict[str | None, tuple[Tensor, Tensor]],
        cache: Any,
    ) -> Tensor:
        """Return what a layer makes of tokens: (tokens, hidden); the cache's `update` and `attend` are called.

        Args:
            layer: counted from 0.
            hidden: (tokens, hidden).
            positions: (tokens,) int64.
            rotations: of these positions.
            cache: what transformers calls a cache, and our attention function the memory.
        """
        return self.run_rows(layer, hidden[None], positions, rotations, cache)[0]

    def run_rows(
        self,
        layer: int,
        hidden: Tensor,
        positions: Tensor,
        rotations: dict[str | None, tuple[Tensor, Tensor]],
        cache: Any,
    ) -> Tensor:
        """Return what a layer makes of rows: (rows, tokens, hidden).

        Args:
            layer: counted from 0.
            hidden: (rows, tokens, hidden).
            positions: as for `run`.
            rotations: as for `run`.
            cache: as for `run`.
        """
        return self._inner.layers[layer](
            hidden,
            attention_mask=None,
            position_ids=positions if positions.ndim == 2 else positions[None],
            position_embeddings=rotations[self._kinds[layer]],
            past_key_values=cache,
            use_cache=True,
            memory=cache,
        )

    def keys_and_values(
        self,
        layer: int,
        hidden: Tensor,
        positions: Tensor,
        rotations: dict[str | None, tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Return the keys, rotated, and values that a layer makes of tokens: (kv_heads, tokens, head_dim) each.

        Nothing after them is computed. The arguments are those of `run`.
        """
        try:
            self.run(layer, hidden, positions, rotations, _Overhearing(layers=[]))
        except _HeardError as heard:
            return heard.keys[0], heard.values[0]
        raise AssertionError("a layer did not tell its cache any keys")

    def _prove(self, shapes: Sequence[LayerShape]) -> None:
        """Refuse a model whose layers one by one give something else than the model itself."""
        positions = torch.arange(_NUM_PROBED, device=self._model.device)
        with torch.no_grad():
            theirs, ours = empty_cache(shapes), empty_cache(shapes)
            with theirs.passing(Pass(positions)):
                self._model(
                    input_ids=positions[None],
                    position_ids=positions[None],
                    past_key_values=theirs,
                    use_cache=True,
                    logits_to_keep=1,
                    memory=theirs,
                )
            with ours.passing(Pass(positions)):
                hidden = self.embedded(positions.tolist())
                rotations = self.rotations(hidden, positions)
                for layer in range(self.num_layers):
                    hidden = self.run(layer, hidden, positions, rotations, ours)
        for mine, wanted in zip(ours.memory_layers, theirs.memory_layers, strict=True):
            for name in ("keys", "values"):
                a, b = (getattr(one.stretches[0], name).float() for one in (mine, wanted))
                if float((a - b).abs().max()) > TOLERANCE * max(1.0, float(b.abs().max())):
                    raise UnsupportedError(
                        f"{type(self._model).__name__} does more between its layers than can be repeated here: its "
                        f"pieces cannot be fused; prefill the whole text instead"
                    )


class _HeardError(Exception):
    """Leaves a layer as soon as its keys and values are known."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values


class _Overhearing(Cache):
    """A cache that keeps nothing, and lets a layer go no further than its keys and values."""

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Leave the layer."""
        raise _HeardError(key_states, value_states)
