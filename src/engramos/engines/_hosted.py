"""What an engine holds of a loaded model, and the way between caches and stored tensors."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from engramos.activation.kv_tensors import FULL, SLIDING, KVLayer, KVTensors
from engramos.activation.stretch import Stretch, padded
from engramos.engines._attention import NAME, register
from engramos.engines._cache import MemoryCache
from engramos.engines._held import Held
from engramos.engines._layer import LayerShape
from engramos.engines._mixture import check_fits
from engramos.engines._shapes import decoder_of, layer_shapes, text_config
from engramos.engines._weights import fingerprint_of
from engramos.errors import ModelMismatchError, UnsupportedError
from engramos.parametric.adapter import Adapter, Prefix


@dataclass(frozen=True, slots=True)
class Hosted:
    """A loaded model with what was read off it."""

    model: Any
    tokenizer: Any
    decoder: Any
    shapes: tuple[LayerShape, ...]
    fingerprint: Mapping[str, str]
    max_tokens: int
    ends: frozenset[int]
    """Tokens that end an answer."""
    breaks: frozenset[int]
    """Tokens that end a sentence."""
    turn: threading.RLock
    held: Held
    """Adapters that act on everything."""
    known: WeakKeyDictionary[Adapter, str] = field(default_factory=WeakKeyDictionary)
    """Digests of adapters that were found to fit."""

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.model.dtype

    def digest_of(self, adapter: Adapter) -> str:
        """Return the digest of an adapter that fits the model.

        Raises:
            InvalidInputError, ModelMismatchError: if it does not fit.
        """
        if adapter not in self.known:
            check_fits(self.model, adapter, "this adapter")
            self.known[adapter] = adapter.digest
        return self.known[adapter]


def hosted(model: Any, tokenizer: Any, weights: str) -> Hosted:
    """Return a model made ready for caches.

    Raises:
        UnsupportedError: if a cache cannot host it.
    """
    shapes = tuple(layer_shapes(model))
    register()
    model.set_attn_implementation(NAME)
    if text_config(model)._attn_implementation != NAME:
        raise UnsupportedError(f"{type(model).__name__} does not let its attention be chosen: use another model")
    config = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = {tokenizer.eos_token_id, *([config] if isinstance(config, int) else config or [])} - {None}
    breaks = frozenset(
        number for text, number in tokenizer.get_vocab().items() if text.endswith((".", "!", "?", "\n", "Ċ", "。"))
    )
    limit = int(text_config(model).max_position_embeddings)
    fingerprint = fingerprint_of(model, tokenizer, weights)
    turn = threading.RLock()
    held = Held(model, turn)
    return Hosted(model, tokenizer, decoder_of(model), shapes, fingerprint, limit, frozenset(ends), breaks, turn, held)


def stretches_of(layer: KVLayer, device: torch.device) -> list[Stretch]:
    """Return a stored layer as stretches, read in place where the device is the same."""
    if not layer.is_ragged:
        keys, values, positions = layer.padded()
        return [Stretch(keys.to(device), values.to(device), positions.to(device))]
    heads = zip(layer.heads("keys"), layer.heads("values"), layer.heads("positions"), strict=True)
    return [Stretch(*(one[None].to(device) for one in head)) for head in heads]


def tensors_of(cache: MemoryCache) -> KVTensors:
    """Return what a cache keeps.

    Raises:
        UnsupportedError: if tokens have moved up, so that positions no longer tell what was read.
    """
    if cache.is_compact:
        raise UnsupportedError("a compact cache has moved its tokens and cannot be stored: build it without is_compact")
    layers = []
    for layer in cache.memory_layers:
        kind = FULL if layer.shape.window is None else SLIDING
        keys, values, positions, _ = padded(layer.stretches)
        layers.append(KVLayer.of_padded(keys.clone(), values.clone(), positions.clone(), cache.num_tokens, kind))
    return KVTensors(tuple(cache.token_ids), tuple(layers))


def check_layers(stored: KVTensors, shapes: Sequence[LayerShape], dtype: torch.dtype) -> None:
    """Refuse stored tensors that are not of this model's form.

    Raises:
        ModelMismatchError: with what differs.
    """
    differing = []
    if len(stored.layers) != len(shapes):
        differing.append("number of layers")
    for layer, shape in zip(stored.layers, shapes, strict=False):
        kind = FULL if shape.window is None else SLIDING
        found = (layer.kv_heads, layer.head_dim, layer.dtype, layer.kind)
        wanted = (shape.kv_heads, shape.head_dim, dtype, kind)
        names = ("number of heads", "head_dim", "dtype", "kind of layers")
        differing += [name for name, one, other in zip(names, found, wanted, strict=True) if one != other]
    if differing:
        raise ModelMismatchError("this KV cube", tuple(dict.fromkeys(differing)))


def stretches_of_prefix(prefix: Prefix, shapes: Sequence[LayerShape], dtype: torch.dtype) -> list[list[Stretch]]:
    """Return what each layer of a cache begins with where an adapter has a prefix."""
    start: list[list[Stretch]] = []
    for shape in shapes:
        if shape.index not in prefix.keys:
            start.append([])
            continue
        positions = torch.arange(prefix.num_tokens).expand(shape.kv_heads, -1).contiguous()
        keys, values = (one[shape.index].detach().to(dtype) for one in (prefix.keys, prefix.values))
        start.append([Stretch(keys, values, positions)])
    return start
