"""One layer of a cache on a model: what it keeps, and the attention over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from engramos.activation.attention import attend
from engramos.activation.policies.base import Policy
from engramos.activation.rope import Rope
from engramos.activation.stretch import Stretch, padded
from engramos.activation.view import PREFILL, LayerView


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer of a model is like."""

    index: int
    num_layers: int
    heads: int
    kv_heads: int
    head_dim: int
    scaling: float
    rope: Rope
    window: int | None = None
    """Tokens that a sliding layer sees; None where it sees all."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass: what the layers must know beside the tensors."""

    positions: Tensor
    """(queries,) int64."""
    phase: str = PREFILL
    prompt_tokens: int = 0
    question_tokens: int = 0
    places: Tensor | None = None
    """(queries,): the places whose keys and values are written anew; None where the tokens come at the end."""


class MemoryLayer(CacheLayerMixin):
    """The tokens that one layer of one sequence keeps.

    Heads that keep different numbers of tokens have a stretch each, so that what is removed takes no bytes.
    """

    is_sliding = False
    is_croppable = True

    def __init__(self, shape: LayerShape, policy: Policy | None = None, start: Sequence[Stretch] | None = None) -> None:
        """Begin empty, or with stretches: one for all heads, or one for each."""
        super().__init__()
        self.shape = shape
        self.policy = None if shape.window is not None else policy
        self.stretches: list[Stretch] = list(start) if start else []
        self.queries: Tensor | None = None
        self.query_positions: Tensor | None = None
        self.is_initialized = bool(start)

    @property
    def num_tokens(self) -> int:
        """Tokens of the head that keeps most."""
        return max((len(one) for one in self.stretches), default=0)

    @property
    def num_bytes(self) -> int:
        """Bytes of the keys and values that are kept."""
        return sum(one.num_bytes for one in self.stretches)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with the dtype and device of the first keys."""
        _, kv_heads, _, head_dim = key_states.shape
        self.stretches = [Stretch.empty(kv_heads, head_dim, key_states.dtype, key_states.device)]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Pass, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Add the keys and values of a pass; they are handed back as they came, because `attend` reads what is kept."""
        (current,) = args
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        heads = [slice(None)] if len(self.stretches) == 1 else [slice(at, at + 1) for at in range(len(self.stretches))]
        for stretch, at in zip(self.stretches, heads, strict=True):
            if current.places is None:
                stretch.append(key_states[0, at], value_states[0, at], current.positions)
            else:
                stretch.write(current.places, key_states[0, at], value_states[0, at])
        return key_states, value_states

    def attend(self, query_states: Tensor, current: Pass, scaling: float) -> Tensor:
        """Return the attention of a pass: (1, heads, queries, head_dim)."""
        queries = query_states[0]
        new = 0 if current.places is not None else queries.shape[1]
        parts = queries.chunk(len(self.stretches)) if len(self.stretches) > 1 else [queries]
        outs = [
            attend(
                part,
                current.positions,
                stretch.keys,
                stretch.values,
                stretch.seen_positions,
                scaling,
                window=self.shape.window,
                num_before=len(stretch) - new if new else 0,
            )
            for part, stretch in zip(parts, self.stretches, strict=True)
        ]
        self._after(queries, current)
        return torch.cat(outs)[None] if len(outs) > 1 else outs[0][None]

    def _after(self, queries: Tensor, current: Pass) -> None:
        """Let the policy take note of a pass, and keep the queries that it will want to see."""
        if self.policy is None:
            return
        if self.policy.observes:
            view = self._viewed(queries, current.positions, current)
            self.policy.observe(view)
            self._store(view)
        if (num := self.policy.num_queries) and current.phase != "probe":
            old = queries[:, :0] if self.queries is None else self.queries
            positions = current.positions[:0] if self.query_positions is None else self.query_positions
            self.queries = torch.cat((old, queries), dim=1)[:, -num:]
            self.query_positions = torch.cat((positions, current.positions))[-num:]

    def view(self, current: Pass) -> LayerView:
        """Return what a policy sees: all that is kept, and the newest queries."""
        if self.queries is None:
            head_dim = self.shape.head_dim
            queries = self.stretches[0].keys.new_empty((self.shape.heads, 0, head_dim))
            return self._viewed(queries, current.positions[:0], current)
        assert self.query_positions is not None
        return self._viewed(self.queries, self.query_positions, current)

    def _viewed(self, queries: Tensor, positions: Tensor, current: Pass) -> LayerView:
        keys, values, at, notes = padded(self.stretches)
        return LayerView(
            self.shape.index,
            self.shape.num_layers,
            keys,
            values,
            at,
            queries,
            positions,
            self.shape.scaling,
            self.shape.rope,
            current.phase,
            current.prompt_tokens,
            current.question_tokens,
            notes,
        )

    def _store(self, view: LayerView) -> None:
        """Put a view's notes beside the tokens."""
        if len(self.stretches) == 1:
            self.stretches[0].notes = view.notes
            return
        for head, stretch in enumerate(self.stretches):
            stretch.notes = {name: note[head : head + 1, : len(stretch)] for name, note in view.notes.items()}

    def note(self, name: str, numbers: Tensor) -> None:
        """Write numbers beside the newest tokens, the same for all heads.

        Args:
            name: of the note.
            numbers: (new,) float32.
        """
        for stretch in self.stretches:
            if name not in stretch.notes:
                stretch.notes[name] = torch.zeros(stretch.positions.shape, device=stretch.keys.device)
            stretch.notes[name][:, -len(numbers) :] = numbers.to(stretch.keys.device)

    def keep(self, places: Sequence[Tensor]) -> None:
        """Keep these tokens alone.

        Args:
            places: of each head: (kept,) int64, rising.
        """
        lengths = {len(one) for one in places}
        if len(self.stretches) == 1 and len(lengths) == 1:
            if lengths != {len(self.stretches[0])}:
                self.stretches[0].keep(torch.stack(tuple(places)))
            return
        if len(self.stretches) == 1:
            self.stretches = self.stretches[0].split()
        for stretch, one in zip(self.stretches, places, strict=True):
            if len(one) != len(stretch):
                stretch.keep(one[None])

    def trim(self) -> None:
        """Drop what a sliding layer can see no more; room is made once in a while, not at each token."""
        if self.shape.window is None:
            return
        for stretch in self.stretches:
            if len(stretch) >= 2 * self.shape.window:
                first = len(stretch) - self.shape.window
                places = torch.arange(first, len(stretch), device=stretch.positions.device)
                stretch.keep(places.expand(stretch.kv_heads, -1))

    def move(self, next_position: int) -> int:
        """Turn the kept keys to positions that follow one another and end before `next_position`.

        Returns:
            The position after the last token of the head that keeps most, had it begun at 0.
        """
        for stretch in self.stretches:
            end = next_position
            old = stretch.positions
            new = torch.arange(end - len(stretch), end, device=old.device).expand(stretch.kv_heads, -1)
            stretch.replace_keys(self.shape.rope.move(stretch.keys, old, new), new)
        return self.num_tokens

    def shift(self, by: int) -> None:
        """Turn all kept keys by the same number of positions."""
        for stretch in self.stretches:
            new = stretch.positions + by
            stretch.replace_keys(self.shape.rope.move(stretch.keys, stretch.positions, new), new)

    def shift_queries(self, by: int) -> None:
        """Turn the queries that are kept for the policy by the same number of positions."""
        if self.queries is not None and self.query_positions is not None:
            new = self.query_positions + by
            self.queries = self.shape.rope.move(self.queries, self.query_positions, new)
            self.query_positions = new

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the newest tokens; the number is negative, as transformers has it."""
        for stretch in self.stretches:
            stretch.drop_last(abs(tokens_to_remove))

    def copy(self) -> "MemoryLayer":
        """Return a layer with the same tokens; neither sees what is added to the other."""
        other = MemoryLayer(self.shape, self.policy, [one.copy() for one in self.stretches])
        other.queries, other.query_positions = self.queries, self.query_positions
        return other

    def get_seq_length(self) -> int:
        """Return how many tokens are kept."""
        return self.num_tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return what transformers would build a mask of; ours is built in `attend`."""
        return self.num_tokens + query_length, 0

    def get_max_length(self) -> int:
        """Return -1: there is no fixed maximum."""
        return -1
