"""What an encoded KV cache says of itself, and whether its parts agree with that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs.base import DTYPES, KEYS, VALUES
from engramos.activation.kv_tensors import FULL, KINDS, kept_ratio_of
from engramos.errors import ArchiveError, InvalidInputError

MAX_LAYERS = MAX_HEADS = 1024
MAX_HEAD_DIM = 8192
MAX_TOKENS = 2**26
MAX_TEXT = 300
MAX_FINGERPRINT_TEXT = 4096
TOKEN_IDS = "token_ids"
_PART = re.compile(r"(keys|values)\.(0|[1-9][0-9]{0,3})\.(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What does not change in a layer, however many tokens it keeps."""

    kv_heads: int
    head_dim: int
    kind: str = FULL
    """`full` or `sliding`."""


@dataclass(frozen=True, slots=True)
class KVDescription:
    """What an encoded KV cache says of itself.

    Raises:
        InvalidInputError: if a number or a text is out of its range.
    """

    fingerprint: Mapping[str, str]
    """Of the model, see `Fingerprint.to_mapping`."""
    codec_keys: str
    """Such as `int8`, or `{ method = "int4", bits = 4 }`."""
    codec_values: str
    dtype: str
    """Of keys and values before they were encoded: `float32`, `bfloat16` or `float16`."""
    layers: tuple[LayerShape, ...]
    num_tokens: int
    """Tokens that were encoded, those too whose keys were removed."""
    kept_ratio: float
    """See `kept_ratio_of`, in (0, 1]."""
    policy: str = "full"
    """The KV policy that removed tokens."""

    def __post_init__(self) -> None:
        table = self.fingerprint.items()
        if len(table) > 32 or not all(
            _is_text(name, MAX_TEXT) and _is_text(text, MAX_FINGERPRINT_TEXT) for name, text in table
        ):
            raise InvalidInputError("the fingerprint of a KV cube must be at most 32 short texts by name")
        for name in ("codec_keys", "codec_values", "policy"):
            if not _is_text(getattr(self, name), MAX_TEXT):
                raise InvalidInputError(f"{name} of a KV cube must be a text of at most {MAX_TEXT} characters")
        if self.dtype not in DTYPES:
            raise InvalidInputError(f"dtype of a KV cube must be one of {', '.join(DTYPES)}")
        if not _is_count(len(self.layers), MAX_LAYERS) or not _is_count(self.num_tokens, MAX_TOKENS):
            raise InvalidInputError(f"a KV cube has 1 to {MAX_LAYERS} layers, and 1 to {MAX_TOKENS} tokens")
        for one in self.layers:
            if not _is_count(one.kv_heads, MAX_HEADS) or not _is_count(one.head_dim, MAX_HEAD_DIM):
                raise InvalidInputError(f"a layer has 1 to {MAX_HEADS} kv_heads, and a head_dim of 1 to {MAX_HEAD_DIM}")
            if one.kind not in KINDS:
                raise InvalidInputError(f"the kind of a layer must be {' or '.join(KINDS)}")
        if type(self.kept_ratio) is not float or not 0.0 < self.kept_ratio <= 1.0:
            raise InvalidInputError("kept_ratio of a KV cube must be a number above 0, up to 1")


@dataclass(frozen=True, slots=True)
class EncodedKV:
    """A KV cache as a file holds it."""

    description: KVDescription
    parts: Mapping[str, Tensor]
    """`token_ids`; of layers that lost tokens `positions.LAYER`, and for ragged heads `counts.LAYER`; the codecs' parts
    `keys.LAYER.PART` and `values.LAYER.PART`, named by the first layer of their group, with `h0.` and so on before the
    part for each head of a ragged layer. Never written to."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(one.numel() * one.element_size() for one in self.parts.values())


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """Where the tokens of one layer stand."""

    shape: LayerShape
    counts: tuple[int, ...]
    """Tokens of each head."""
    positions: Tensor | None
    """(1 or kv_heads, tokens) int32; ragged: all heads one after the other; None where no token was removed."""
    is_ragged: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Adjacent layers of one side that a codec encoded together; a ragged layer is a group by itself."""

    side: str
    layers: range
    parts: tuple[Mapping[str, Tensor], ...]
    """One mapping; of a ragged layer one for each head."""


@dataclass(frozen=True, slots=True)
class Layout:
    """An encoded KV cache, taken apart and checked."""

    token_ids: Tensor
    layers: tuple[LayerLayout, ...]
    groups: tuple[Group, ...]

    @property
    def num_values(self) -> int:
        """Numbers in keys and values, once they are decoded."""
        return 2 * sum(sum(one.counts) * one.shape.head_dim for one in self.layers)


def layout_of(cube: EncodedKV) -> Layout:
    """Return the parts of an encoded KV cache in their places; nothing is decoded.

    Raises:
        ArchiveError: if the description lies, or a part is missing, unknown, or of another shape or dtype.
    """
    about, left = cube.description, dict(cube.parts)
    token_ids = _row(left, TOKEN_IDS, (about.num_tokens,))
    if token_ids is None or int(token_ids.min()) < 0:
        raise refusal("it must hold its token ids, each 0 or more")
    layers = tuple(_layer(left, at, shape, about.num_tokens) for at, shape in enumerate(about.layers))
    kept = kept_ratio_of([(one.counts, one.shape.kind) for one in layers], about.num_tokens)
    if kept != about.kept_ratio:
        raise refusal(f"it says to keep {about.kept_ratio} of its tokens and keeps {kept}")
    sides: dict[tuple[str, int], dict[str, Tensor]] = {}
    for name, part in left.items():
        found = _PART.fullmatch(name)
        if found is None:
            raise refusal(f"it has the unknown part {name[:80]!r}")
        sides.setdefault((found[1], int(found[2])), {})[found[3]] = part
    groups = tuple(group for side in (KEYS, VALUES) for group in _groups(sides, side, layers))
    return Layout(token_ids, layers, groups)


def refusal(problem: str) -> ArchiveError:
    """Return the error for an encoded KV cache that cannot be what it says."""
    return ArchiveError(f"a KV cube is damaged or hostile: {problem}; do not use it, build it again from its source")


def is_finite(tensor: Tensor) -> bool:
    """Return whether no number is NaN or infinite; one pass, and no memory."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # both carry a NaN on
    least, greatest = torch.aminmax(tensor)
    return bool(torch.isfinite(least)) and bool(torch.isfinite(greatest))


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _row(left: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor | None:
    part = left.pop(name, None)
    if part is not None and (part.dtype != torch.int32 or tuple(part.shape) != shape):
        raise refusal(f"its part {name!r} must be int32 of shape {shape}")
    return part


def _layer(left: dict[str, Tensor], at: int, shape: LayerShape, num_tokens: int) -> LayerLayout:
    counts = _row(left, f"counts.{at}", (shape.kv_heads,))
    name = f"positions.{at}"
    if counts is not None:
        of_heads = tuple(counts.tolist())
        if not all(0 <= one <= num_tokens for one in of_heads):
            raise refusal(f"layer {at} has heads of {of_heads} tokens, and there are {num_tokens}")
        positions = _row(left, name, (sum(of_heads),))
        if positions is None:
            raise refusal(f"layer {at} is ragged and has no positions")
        rows = list(positions.split(of_heads))
    elif name not in left:
        return LayerLayout(shape, (num_tokens,) * shape.kv_heads, None, False)
    else:
        positions = left.pop(name)
        if positions.dtype != torch.int32 or positions.dim() != 2 or positions.shape[0] not in (1, shape.kv_heads):
            raise refusal(f"the positions of layer {at} must be int32, one row or one for each head")
        of_heads = (positions.shape[1],) * shape.kv_heads
        rows = list(positions.unbind(0))
    for row in rows:
        if row.numel() and (int(row[0]) < 0 or int(row[-1]) >= num_tokens or bool((row[1:] <= row[:-1]).any())):
            raise refusal(f"the positions of layer {at} must rise, from 0 or more, and stay below {num_tokens}")
    return LayerLayout(shape, of_heads, positions, counts is not None)


def _groups(
    sides: Mapping[tuple[str, int], Mapping[str, Tensor]], side: str, layers: tuple[LayerLayout, ...]
) -> list[Group]:
    firsts = sorted(first for one, first in sides if one == side)
    if firsts[:1] != [0] or firsts[-1] >= len(layers):
        raise refusal(f"its {side} do not begin at layer 0, or go beyond the last layer")
    found = []
    for first, end in zip(firsts, [*firsts[1:], len(layers)], strict=True):
        whole = sides[side, first]
        one = layers[first]
        alike = {(layer.shape.kv_heads, layer.shape.head_dim, layer.counts) for layer in layers[first:end]}
        if len(alike) != 1 or (any(layer.is_ragged for layer in layers[first:end]) and end - first > 1):
            raise refusal(f"the {side} of layers {first} to {end - 1} cannot be stored together")
        parts = _of_heads(whole, one.shape.kv_heads, f"{side}.{first}") if one.is_ragged else (whole,)
        found.append(Group(side, range(first, end), parts))
    return found


def _of_heads(whole: Mapping[str, Tensor], kv_heads: int, name: str) -> tuple[Mapping[str, Tensor], ...]:
    found: list[dict[str, Tensor]] = [{} for _ in range(kv_heads)]
    for part, tensor in whole.items():
        head, _, rest = part.partition(".")
        number = int(head[1:]) if re.fullmatch(r"h(0|[1-9][0-9]{0,3})", head) else kv_heads
        if number >= kv_heads or not rest:
            raise refusal(f"it has the unknown part {name}.{part[:80]}")
        found[number][rest] = tensor
    if not all(found):
        raise refusal(f"a head of {name} has no parts")
    return tuple(found)
