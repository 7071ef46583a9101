"""A cache that keeps its first and newest tokens at hand, and brings back of the others what each pass asks for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engramos.activation.attention import attend
from engramos.activation.keeping import Recalling
from engramos.activation.recall.base import Filed, Recalled
from engramos.activation.stretch import Stretch
from engramos.activation.view import DECODE, PREFILL
from engramos.engines._cache import MemoryCache
from engramos.engines._layer import LayerShape, MemoryLayer, Pass
from engramos.errors import ConfigError


class RecallLayer(MemoryLayer):
    """The first and newest tokens of one layer, its archive, and the summaries by which tokens come back."""

    def __init__(self, shape: LayerShape, recalling: Recalling, start: Sequence[Stretch] | None = None) -> None:
        """Begin empty, or with one stretch."""
        super().__init__(shape, None, start)
        self.recalling = recalling
        self.filed = Filed()
        self.archive = recalling.archive()
        self.num_back = 0
        self.reserved = 0

    @property
    def num_bytes(self) -> int:
        """Bytes at hand: kept tokens and summaries; not what comes back, which lives for one pass only."""
        return super().num_bytes + self.filed.num_bytes

    def attend(self, query_states: Tensor, current: Pass, scaling: float) -> Tensor:
        """Return the attention over what is at hand and what comes back: (1, heads, queries, head_dim)."""
        if not self.filed.num_tokens or not self.num_back:
            out = super().attend(query_states, current, scaling)
        else:
            (held,) = self.stretches
            queries = query_states[0]
            view = self._viewed(queries, current.positions, current)
            back = self.recalling.recall.select(view, self.filed, self.num_back)
            keys, values, positions, bias = self._brought(back, held)
            out = attend(
                queries,
                current.positions,
                torch.cat((keys, held.keys), dim=1),
                torch.cat((values, held.values), dim=1),
                torch.cat((positions, held.positions), dim=1),
                scaling,
                bias=None if bias is None else torch.nn.functional.pad(bias, (0, len(held))),
            )[None]
        if "received" in self.recalling.recall.needs:
            self._note_received(query_states[0], current)
        return out

    def _note_received(self, queries: Tensor, current: Pass) -> None:
        view = self._viewed(queries, current.positions, current)
        view.note("received").add_(view.attention().sum(dim=(1, 2)))

    def _brought(self, back: Recalled, held: Stretch) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return keys, values, positions and score bias of what comes back."""
        bias = None if back.weights is None else back.weights.clamp(min=1e-30).log()
        if back.places is None:
            assert back.keys is not None
            assert back.values is not None
            assert back.positions is not None
            keys, values, positions = back.keys, back.values, back.positions
            if self.recalling.is_compact:
                positions = self._near(positions)
                keys = self.shape.rope.rotate(keys, positions.clamp(min=0))
            return keys.to(held.keys.dtype), values.to(held.keys.dtype), positions, bias
        keys, values = self.archive.gather(back.places.clamp(min=0))
        is_real = back.places >= 0
        positions = torch.where(is_real, back.places + self.recalling.num_sinks, -1)
        if self.recalling.is_compact:
            positions = self._near(positions)
            keys = self.shape.rope.rotate(keys, positions.clamp(min=0))
        return keys, values, positions, bias

    def _near(self, positions: Tensor) -> Tensor:
        """Return positions in the reserved room right before the newest tokens, in the same order."""
        is_real = positions >= 0
        num = is_real.sum(dim=1, keepdim=True)
        order = torch.arange(positions.shape[1], device=positions.device).expand_as(positions)
        end = self.recalling.num_sinks + self.reserved
        return torch.where(is_real, (end - num + order).clamp(min=0), -1)

    def put_away(self, num_held: int, current: Pass) -> int:
        """Let all but the first and the newest tokens go to the archive, and return how many went.

        Args:
            num_held: how many first and newest tokens stay.
            current: for the view.
        """
        (held,) = self.stretches
        first = self.recalling.num_sinks
        num = len(held) - max(num_held, first + 1)
        if num <= 0:
            return 0
        nothing = held.keys.new_empty((self.shape.heads, 0, self.shape.head_dim))
        view = self._viewed(nothing, current.positions[:0], current)
        at = slice(first, first + num)
        keys, positions = held.keys[:, at], held.positions[:, at]
        if self.recalling.is_compact:
            # great positions lose precision: in an endless past all keys stand at one far position, as InfLLM has it
            keys = self.shape.rope.unrotate(keys, positions)
            positions = torch.zeros_like(positions)
        view.keys, view.values, view.positions = keys, held.values[:, at], positions
        view.notes = {name: note[:, at] for name, note in held.notes.items()}
        if self.recalling.recall.keeps_archive:
            self._own_archive().append(view.keys, view.values)
        self.filed = self.recalling.recall.file(view, self.filed)
        kept = torch.arange(len(held), device=positions.device)
        kept = torch.cat((kept[:first], kept[first + num :]))
        held.keep(kept.expand(held.kv_heads, -1))
        return num

    def _own_archive(self) -> Any:
        """Return the archive; where a copy of this layer has gone on writing to it, a new one with our own tokens."""
        if self.archive.num_tokens != self.filed.num_tokens:
            places = torch.arange(self.filed.num_tokens, device=self.stretches[0].positions.device)
            past = self.archive.gather(places.expand(self.shape.kv_heads, -1))
            self.archive = self.recalling.archive()
            self.archive.append(*past)
        return self.archive

    def move_up(self, by: int, reserved: int) -> None:
        """Turn all but the first tokens back by some positions, and leave room for what comes back."""
        self.reserved = reserved
        (held,) = self.stretches
        first = self.recalling.num_sinks
        new = held.positions.clone()
        new[:, first:] -= by
        held.replace_keys(self.shape.rope.move(held.keys, held.positions, new), new)

    def copy(self) -> "RecallLayer":
        """Return a layer with the same tokens at hand; both read one archive until both have written to it."""
        other = RecallLayer(self.shape, self.recalling, [one.copy() for one in self.stretches])
        other.filed = Filed(self.filed.num_tokens, {name: one.clone() for name, one in self.filed.tensors.items()})
        other.archive, other.num_back, other.reserved = self.archive, self.num_back, self.reserved
        return other


class RecallCache(MemoryCache):
    """A cache whose layers that see everything are under recall."""

    def __init__(self, layers: Sequence[MemoryLayer], recalling: Recalling, token_ids: Sequence[int] = ()) -> None:
        """Hold layers that have read some tokens."""
        super().__init__(layers, None, token_ids)
        self.recalling = recalling

    @property
    def is_compact(self) -> bool:
        """Whether tokens move up."""
        return self.recalling.is_compact

    @property
    def needs(self) -> frozenset[str]:
        """Notes that the engine must provide."""
        return self.recalling.recall.needs - {"received"}

    @property
    def is_cut_at_blocks(self) -> bool:
        """Whether tokens leave after every block."""
        return self.recalling.every_block

    @property
    def query_tokens(self) -> int | None:
        """How many tokens may be read at a time, once there is a past."""
        has_past = any(isinstance(one, RecallLayer) and one.filed.num_tokens for one in self.memory_layers)
        return self.recalling.query_tokens if has_past and not self.recalling.every_block else None

    @property
    def is_endless(self) -> bool:
        """Whether input may go on without end."""
        return self.recalling.is_compact

    def prune_prompt(self, question_tokens: int = 0) -> None:
        """Let tokens go to the archive, down to the budget."""
        self._put_away(PREFILL, slack=0)

    def prune_decoded(self) -> None:
        """Let tokens go to the archive when more than a few have come."""
        self._put_away(DECODE, slack=64)

    def _put_away(self, phase: str, slack: int) -> None:
        layers = [one for one in self.memory_layers if isinstance(one, RecallLayer) and one.stretches]
        if not layers:
            return
        shape, recalling = layers[0].shape, self.recalling
        token_bytes = 2 * shape.kv_heads * shape.head_dim * layers[0].stretches[0].keys.element_size()
        budget = recalling.resident.tokens_of(self.num_tokens, token_bytes * len(layers))
        num_held = recalling.num_sinks + max(1, int(budget * recalling.local_share))
        if layers[0].num_tokens <= num_held + slack or self.num_tokens <= budget:
            return
        device = layers[0].stretches[0].positions.device
        current = Pass(torch.empty(0, dtype=torch.int64, device=device), phase, self.prompt_tokens)
        num = 0
        for layer in layers:
            num = layer.put_away(num_held, current)
            layer.num_back = max(0, budget - num_held - layer.filed.num_bytes // token_bytes)
        if recalling.is_compact and num:
            self._move_up(num, max(0, budget - num_held))

    def _move_up(self, num: int, reserved: int) -> None:
        """Close the gap that the archived tokens left, but for the room that what comes back needs."""
        grown = reserved - next(one.reserved for one in self.memory_layers if isinstance(one, RecallLayer))
        for layer in self.memory_layers:
            if isinstance(layer, RecallLayer):
                layer.move_up(num - grown, reserved)
            else:
                layer.shift(grown - num)
        self.next_position -= num - grown

    def close(self) -> None:
        """Give back what the archives hold outside of memory; no copy of this cache may be used afterwards."""
        for layer in self.memory_layers:
            if isinstance(layer, RecallLayer):
                layer.archive.close()

    def copy(self) -> "RecallCache":
        """Return a cache with the same tokens at hand, over the same archives."""
        other = RecallCache([layer.copy() for layer in self.memory_layers], self.recalling, self.token_ids)
        self._copy_counts(other)
        return other


def recall_cache(
    shapes: Sequence[LayerShape],
    recalling: Recalling,
    start: Sequence[Sequence[Stretch]] | None = None,
    token_ids: Sequence[int] = (),
) -> RecallCache:
    """Return a cache under recall, empty or with stored tensors, which go to the archive at once.

    Args:
        shapes: of the layers.
        recalling: how.
        start: of each layer: one stretch for all heads.
        token_ids: what had been read when they were made.

    Raises:
        ConfigError: if heads of the stored tensors keep different tokens.
    """
    layers = []
    for index, shape in enumerate(shapes):
        begun = None if start is None else start[index]
        if begun is not None and shape.window is None and (len(begun) > 1 or not _is_whole(begun[0], len(token_ids))):
            raise ConfigError("a KV cube that tokens were removed from cannot be put under recall: build it in full")
        layers.append(RecallLayer(shape, recalling, begun) if shape.window is None else MemoryLayer(shape, None, begun))
    cache = RecallCache(layers, recalling, token_ids)
    if start is not None:
        cache.prune_prompt()
    return cache


def _is_whole(stretch: Stretch, num_tokens: int) -> bool:
    return len(stretch) == num_tokens
