"""KV caches to parts that a file can hold, and back, by any codecs."""

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engramos.activation.codecs import ROLE
from engramos.activation.codecs.base import DTYPES, KEYS, VALUES, Codec
from engramos.activation.kv_layout import (
    MAX_TEXT,
    TOKEN_IDS,
    EncodedKV,
    Group,
    KVDescription,
    LayerLayout,
    LayerShape,
    Layout,
    is_finite,
    layout_of,
    refusal,
)
from engramos.activation.kv_tensors import KVLayer, KVTensors
from engramos.activation.rope import Rope
from engramos.errors import ArchiveError, ConfigError, InvalidInputError, UnknownMethodError, translate

Ropes = Sequence[Rope] | None
"""The rotation of each layer; None where no codec works on keys without it."""


def encode(
    kv: KVTensors,
    codec_keys: str,
    codec_values: str,
    ropes: Ropes = None,
    *,
    fingerprint: Mapping[str, str],
    policy: str = "full",
    importance: Sequence[Tensor] | None = None,
    queries: Sequence[Tensor] | None = None,
) -> EncodedKV:
    """Return the parts that stand for a KV cache.

    Args:
        kv: the cache, all finite.
        codec_keys: names the codec of the keys with its parameters, as `Role.parse` reads it.
        codec_values: that of the values.
        ropes: needed by codecs that work on keys before the rotation.
        fingerprint: of the model.
        policy: that removed tokens.
        importance: of each layer (kv_heads, tokens) float32, shorter heads filled up at the end; None where unknown.
        queries: of each layer (heads, queries, head_dim), the newest; None where unknown.

    Raises:
        ConfigError: if a codec has no such parameters, or needs ropes and has none.
        UnknownMethodError: if there is no such codec.
        InvalidInputError: if a number is NaN or infinite, or becomes so.
    """
    parts: dict[str, Tensor] = {TOKEN_IDS: torch.tensor(kv.token_ids, dtype=torch.int32)}
    for at, layer in enumerate(kv.layers):
        parts |= _positions(at, layer)
    for side, text in ((KEYS, codec_keys), (VALUES, codec_values)):
        codec = _parsed(text)
        for group in _groups(kv.layers, codec.group):
            tensors = [_rows(kv.layers[at], side, _rope(codec, side, ropes, at)) for at in group]
            for head in range(len(tensors[0])):
                name = f"{side}.{group[0]}." + (f"h{head}." if kv.layers[group[0]].is_ragged else "")
                made = codec.encode(
                    [rows[head] for rows in tensors],
                    side,
                    importance=_importance(kv.layers, group, importance, head),
                    queries=_queries(kv.layers, group, queries, head),
                )
                parts |= {name + part: _stored(tensor, name + part) for part, tensor in made.items()}
    shapes = tuple(LayerShape(one.kv_heads, one.head_dim, one.kind) for one in kv.layers)
    dtype = next(name for name, one in DTYPES.items() if one == kv.dtype)
    about = KVDescription(
        dict(fingerprint), codec_keys, codec_values, dtype, shapes, kv.num_tokens, kv.kept_ratio, policy
    )
    return EncodedKV(about, parts)


def decode(cube: EncodedKV, ropes: Ropes = None, dtype: torch.dtype | None = None) -> KVTensors:
    """Return the KV cache that parts stand for; every number is finite.

    What an exact codec stored in the same dtype is not copied: the tensors are those of the parts.

    Args:
        cube: as it was stored.
        ropes: of each layer, needed where a codec worked on keys before the rotation.
        dtype: of the result; None for what it was.

    Raises:
        ArchiveError: if the description lies, a codec is unknown here, or parts do not fit together.
        CorruptPayloadError: if a codec finds that its parts do not fit together.
        ConfigError: if a codec needs ropes and has none.
    """
    layout = layout_of(cube)
    wanted = dtype or DTYPES[cube.description.dtype]
    codecs = {KEYS: codec_of(cube.description.codec_keys), VALUES: codec_of(cube.description.codec_values)}
    sides: dict[str, list[Tensor | tuple[Tensor, ...]]] = {KEYS: [], VALUES: []}
    for group in layout.groups:
        sides[group.side] += _decoded(codecs[group.side], group, layout, ropes, wanted)
    layers = [
        KVLayer(keys, values, _wide(one), one.shape.kind)
        for keys, values, one in zip(sides[KEYS], sides[VALUES], layout.layers, strict=True)
    ]
    return KVTensors(tuple(layout.token_ids.tolist()), tuple(layers))


def codec_of(text: str) -> Codec:
    """Return the codec that a stored text names.

    Raises:
        ArchiveError: if there is none, or its parameters do not fit.
    """
    # the text comes from a file: a longer one could nest deeper than the parser can go
    if len(text) > MAX_TEXT:
        raise refusal("the name of its codec is too long")
    refused = (UnknownMethodError, ConfigError, TypeError, ValueError, ArithmeticError, AttributeError)
    with translate(dict.fromkeys(refused, ArchiveError), f"reading a KV cube's codec {text[:80]!r}"):
        try:
            return _parsed(text)
        except (UnknownMethodError, ConfigError) as error:
            raise refusal(f"its codec is not known here: {error}") from error


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Codec:
    # looking a method up asks every installed package, which takes far longer than to attach a cache
    return ROLE.parse(text)


def _positions(at: int, layer: KVLayer) -> dict[str, Tensor]:
    if layer.positions is None:
        return {}
    rows = [row.to("cpu", torch.int32) for row in layer.heads("positions")]
    if layer.is_ragged:
        return {f"counts.{at}": torch.tensor(layer.counts, dtype=torch.int32), f"positions.{at}": torch.cat(rows)}
    same = all(torch.equal(row, rows[0]) for row in rows)
    return {f"positions.{at}": torch.stack(rows[:1] if same else rows)}


def _groups(layers: Sequence[KVLayer], most: int) -> list[range]:
    """Return adjacent layers of one shape, at most so many together; a ragged layer stands alone."""
    found: list[range] = []
    for at, layer in enumerate(layers):
        last = layers[at - 1]
        is_alike = (last.counts, last.head_dim, last.kind) == (layer.counts, layer.head_dim, layer.kind)
        if found and len(found[-1]) < most and is_alike and not layer.is_ragged and not last.is_ragged:
            found[-1] = range(found[-1].start, at + 1)
        else:
            found.append(range(at, at + 1))
    return found


def _rope(codec: Codec, side: str, ropes: Ropes, at: int) -> Rope | None:
    if side != KEYS or not codec.before_rope:
        return None
    if ropes is None or at >= len(ropes):
        raise ConfigError(
            f"the codec {type(codec).__name__} stores keys before the rotation: pass the ropes of all layers"
        )
    return ropes[at]


def _rows(layer: KVLayer, side: str, rope: Rope | None) -> list[Tensor]:
    """Return what a codec is given: the whole layer, or each head of a ragged one."""
    if layer.is_ragged:
        tensors = [one.detach().unsqueeze(0) for one in layer.heads(side)]
    else:
        tensors = [getattr(layer, side).detach()]
    if not all(map(is_finite, tensors)):
        raise InvalidInputError(f"the {side} of a KV cache hold NaN or infinite numbers: do not store it")
    if rope is None:
        return tensors
    positions = layer.heads("positions")
    rows = [one.unsqueeze(0) for one in positions] if layer.is_ragged else [torch.stack(positions)]
    return [rope.unrotate(one, row) for one, row in zip(tensors, rows, strict=True)]


def _importance(
    layers: Sequence[KVLayer], group: range, given: Sequence[Tensor] | None, head: int
) -> list[Tensor] | None:
    if given is None:
        return None
    if not layers[group[0]].is_ragged:
        return [given[at] for at in group]
    return [given[at][head : head + 1, : layers[at].counts[head]] for at in group]


def _queries(layers: Sequence[KVLayer], group: range, given: Sequence[Tensor] | None, head: int) -> list[Tensor] | None:
    if given is None:
        return None
    if not layers[group[0]].is_ragged:
        return [given[at] for at in group]
    return [given[at].unflatten(0, (layers[at].kv_heads, -1))[head] for at in group]


def _stored(tensor: Tensor, name: str) -> Tensor:
    if not is_finite(tensor):
        raise InvalidInputError(f"{name} became infinite when it was encoded: use a codec with a wider dtype")
    return tensor.detach().contiguous()


def _decoded(
    codec: Codec, group: Group, layout: Layout, ropes: Ropes, dtype: torch.dtype
) -> list[Tensor | tuple[Tensor, ...]]:
    of_heads = [_checked(codec, parts, group, head, layout, ropes, dtype) for head, parts in enumerate(group.parts)]
    if layout.layers[group.layers[0]].is_ragged:
        return [tuple(one[0][0] for one in of_heads)]
    return list(of_heads[0])


def _checked(
    codec: Codec,
    parts: Mapping[str, Tensor],
    group: Group,
    head: int,
    layout: Layout,
    ropes: Ropes,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Return the layers of a group, or one head of a ragged layer, each (kv_heads, tokens, head_dim)."""
    one = layout.layers[group.layers[0]]
    turned = _rope(codec, group.side, ropes, group.layers[-1]) is not None
    what = f"decoding {group.side} of layer {group.layers[0]} of a KV cube"
    with translate(dict.fromkeys(_BROKEN, ArchiveError), what, next_step="do not use it, build it again"):
        # turned in float32: rounding twice would cost bits that the codec kept
        found = codec.decode(parts, group.side, torch.float32 if turned else dtype)
    wanted = (1 if one.is_ragged else one.shape.kv_heads, one.counts[head], one.shape.head_dim)
    if len(found) != len(group.layers) or any(tuple(tensor.shape) != wanted for tensor in found):
        raise refusal(f"its {group.side} of layers {group.layers[0]} to {group.layers[-1]} are not of shape {wanted}")
    if turned:
        assert ropes is not None
        rows = [_head_positions(layout.layers[at], head) for at in group.layers]
        found = [ropes[at].rotate(x, row).to(dtype) for at, x, row in zip(group.layers, found, rows, strict=True)]
    if not all(map(is_finite, found)):
        raise refusal(
            f"its {group.side} of layers {group.layers[0]} to {group.layers[-1]} hold NaN or infinite numbers"
        )
    return found


_BROKEN = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError)
"""What a codec fails with when parts that it did not write do not fit together."""


def _wide(layer: LayerLayout) -> Tensor | tuple[Tensor, ...] | None:
    if layer.positions is None:
        return None
    rows = layer.positions.long()
    return tuple(rows.split(layer.counts)) if layer.is_ragged else rows.expand(layer.shape.kv_heads, -1)


def _head_positions(layer: LayerLayout, head: int) -> Tensor:
    rows = _wide(layer)
    if rows is None:
        return torch.arange(layer.counts[0])
    return rows if isinstance(rows, Tensor) else rows[head]
