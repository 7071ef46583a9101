"""A cache on a model: the layers of one sequence, its policy and its budgets."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from engramos.activation.keeping import Keeping
from engramos.activation.stretch import Stretch
from engramos.activation.view import DECODE, PREFILL
from engramos.engines._layer import LayerShape, MemoryLayer, Pass
from engramos.engines._mixture import Mixture


class MemoryCache(Cache):
    """The cache of one sequence, as transformers' models take it.

    `num_tokens` counts what was read, not what was kept; `token_ids` are those, unless the cache is compact: then input
    may go on without end, and nothing that grows with it is held.
    """

    def __init__(
        self, layers: Sequence[MemoryLayer], keeping: Keeping | None = None, token_ids: Sequence[int] = ()
    ) -> None:
        """Hold layers that have read some tokens, at the positions from 0 on."""
        super().__init__(layers=list(layers))
        self.keeping = keeping
        self.token_ids = array("i", token_ids)
        self.num_tokens = num_tokens = len(token_ids)
        self.next_position = num_tokens
        self.current: Pass | None = None
        self.prompt_tokens = num_tokens
        self.last_log: Tensor | None = None
        self.sentence = 0
        self.mixture: Mixture | None = None
        self.starts: Tensor = torch.zeros((1, 0), dtype=torch.int64)

    @property
    def memory_layers(self) -> list[MemoryLayer]:
        """The layers, by their own class."""
        return self.layers

    @property
    def kept_tokens(self) -> int:
        """Tokens of the head that keeps most, in all layers."""
        return max(layer.num_tokens for layer in self.memory_layers)

    @property
    def num_bytes(self) -> int:
        """Bytes of all kept keys and values."""
        return sum(layer.num_bytes for layer in self.memory_layers)

    @contextmanager
    def passing(self, current: Pass) -> Iterator[None]:
        """Be the cache of one forward pass."""
        self.current = current
        try:
            yield
        finally:
            self.current = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of a layer in the current pass."""
        assert self.current is not None, "a memory cache is used through its engine"
        return self.layers[layer_idx].update(key_states, value_states, self.current)

    def attend(self, layer_idx: int, query_states: Tensor, scaling: float) -> Tensor:
        """Return the attention of a layer in the current pass: (1, heads, queries, head_dim)."""
        assert self.current is not None
        return self.memory_layers[layer_idx].attend(query_states, self.current, scaling)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the next position, whatever was removed."""
        return self.next_position

    @property
    def needs(self) -> frozenset[str]:
        """Notes that the engine must provide."""
        return frozenset() if self.keeping is None else self.keeping.policy.needs

    @property
    def query_tokens(self) -> int | None:
        """How many tokens may be read at a time; None for as many as the engine likes."""
        return None

    @property
    def is_cut_at_blocks(self) -> bool:
        """Whether the prompt is cut after every block."""
        return self.keeping is not None and self.keeping.every_block

    @property
    def is_endless(self) -> bool:
        """Whether input may go on without end."""
        return self.is_compact and self.keeping is not None and self.keeping.decode is not None

    @property
    def is_compact(self) -> bool:
        """Whether kept tokens move up."""
        return self.keeping is not None and self.keeping.is_compact

    def advance(self, token_ids: Sequence[int]) -> None:
        """Count tokens that a pass has added."""
        self.num_tokens += len(token_ids)
        self.next_position += len(token_ids)
        if not self.is_compact:
            self.token_ids.extend(token_ids)

    def drop_last(self, num: int) -> None:
        """Remove the newest tokens, as if they had not been read; only tokens that no policy has touched yet."""
        for layer in self.memory_layers:
            layer.crop(-num)
        self.num_tokens -= num
        self.next_position -= num
        if not self.is_compact:
            del self.token_ids[len(self.token_ids) - num :]

    def copy(self) -> "MemoryCache":
        """Return a cache with the same tokens; neither sees what is added to the other."""
        other = MemoryCache([layer.copy() for layer in self.memory_layers], self.keeping, self.token_ids)
        self._copy_counts(other)
        return other

    def _copy_counts(self, other: "MemoryCache") -> None:
        for name in ("num_tokens", "next_position", "prompt_tokens", "last_log", "sentence", "mixture", "starts"):
            setattr(other, name, getattr(self, name))

    def token_bytes(self) -> int:
        """Return the bytes of one token in the layers that a policy works on."""
        return sum(
            2 * layer.shape.kv_heads * layer.shape.head_dim * layer.stretches[0].keys.element_size()
            for layer in self._open_layers()
        )

    def prune_prompt(self, question_tokens: int = 0) -> None:
        """Cut a prompt that has been read to its budget."""
        keeping = self.keeping
        if keeping is None or keeping.prefill is None or PREFILL not in keeping.policy.acts_in:
            return
        num = keeping.prefill.tokens_of(self.num_tokens, self.token_bytes())
        self._prune(keeping, num, PREFILL, question_tokens)

    def prune_decoded(self) -> None:
        """Cut to the budget of decoding, if it is passed."""
        keeping = self.keeping
        if keeping is None or keeping.decode is None or DECODE not in keeping.policy.acts_in:
            return
        num = keeping.decode.tokens_of(self.num_tokens, self.token_bytes())
        layers = self._open_layers()
        held = sum(len(one) * one.kv_heads for layer in layers for one in layer.stretches)
        if held > num * sum(layer.shape.kv_heads for layer in layers):
            # a few more than needed, so that not every token pays for the copying
            self._prune(keeping, max(1, num - num // 64), DECODE, 0)

    def _open_layers(self) -> list[MemoryLayer]:
        return [layer for layer in self.memory_layers if layer.policy is not None and layer.stretches]

    def _prune(self, keeping: Keeping, num: int, phase: str, question_tokens: int) -> None:
        layers = self._open_layers()
        if not layers or all(layer.num_tokens <= num for layer in layers):
            return
        policy = keeping.policy
        device = layers[0].stretches[0].positions.device
        current = Pass(torch.empty(0, dtype=torch.int64, device=device), phase, self.prompt_tokens, question_tokens)
        scores, demands = [], []
        for layer in layers:
            view = layer.view(current)
            found = policy.score(view).float().masked_fill(view.positions < 0, float("-inf"))
            scores.append(found)
            demands.append(policy.demand(view, found))
            layer._store(view)
        counts = policy.allot(scores, demands, num)
        for layer, places in zip(layers, policy.choose_all(scores, counts), strict=True):
            layer.keep(places)
        if self.is_compact:
            self._compact()

    def _compact(self) -> None:
        end = self.kept_open()
        by = end - self.next_position
        for layer in self.memory_layers:
            if layer.shape.window is None:
                layer.move(end)
                layer.shift_queries(by)
            else:
                layer.shift(by)
        self.next_position = end

    def kept_open(self) -> int:
        """Return the tokens of the head that keeps most, among layers that see everything."""
        return max(layer.num_tokens for layer in self.memory_layers if layer.shape.window is None)


def empty_cache(shapes: Sequence[LayerShape], keeping: Keeping | None = None) -> MemoryCache:
    """Return a cache that has read nothing."""
    policy = None if keeping is None else keeping.policy
    return MemoryCache([MemoryLayer(shape, policy) for shape in shapes], keeping)


def started_cache(
    shapes: Sequence[LayerShape],
    start: Sequence[Sequence[Stretch]],
    token_ids: Sequence[int],
    keeping: Keeping | None = None,
) -> MemoryCache:
    """Return a cache that begins with stored tensors, which are read in place and never written.

    Args:
        shapes: of the layers.
        start: of each layer: one stretch for all heads, or one for each.
        token_ids: what had been read when they were made.
        keeping: how it stays small from here on.
    """
    policy = None if keeping is None else keeping.policy
    layers = [MemoryLayer(shape, policy, one) for shape, one in zip(shapes, start, strict=True)]
    return MemoryCache(layers, keeping, token_ids)
