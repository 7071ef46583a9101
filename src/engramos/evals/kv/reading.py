"""One text, read once: from it come the caches of all rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engramos.activation.budgets import Budget
from engramos.activation.codecs import ROLE as CODECS
from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.keeping import Recalling
from engramos.activation.kv_encoding import decode, encode
from engramos.activation.stretch import padded
from engramos.activation.view import attention_weights
from engramos.engines._cache import MemoryCache
from engramos.evals.kv.rows import Row
from engramos.evals.kv.stopwatch import Took, stopwatch
from engramos.evals.kv.witness import Witness, pruned, reading, unkept

CODEC_QUERIES = 64
"""Newest queries that codecs are given."""


@dataclass(slots=True)
class Held:
    """The cache of one row."""

    cache: MemoryCache
    num_bytes: int
    """Of keys and values at hand, of summaries, and of the room for what comes back."""
    stored_bytes: int | None = None
    """Of all parts that a codec made of it."""
    bits: float | None = None
    """Of the codec's parts, for each number that it was given; tokens and positions are not in it."""
    cpu_s: float = 0.0
    """What compressing took beside the prefill."""


class Reading:
    """A text in a cache, with all that the rows' policies and codecs want to know of it."""

    def __init__(self, engine: Any, witness: Witness, token_ids: tuple[int, ...]) -> None:
        """Read the text; policies may have it read again."""
        self._engine, self._witness = engine, witness
        self.cache = engine.new_cache(reading(witness))
        witness.begin()
        with stopwatch() as took:
            self.scores: Tensor = engine.prefill(token_ids, self.cache)
        self.token_ids = token_ids
        self.took: Took = took
        self._own_s = list(witness.cpu_s)

    @property
    def plain_cpu_s(self) -> float:
        """What reading the text took, without what policies did meanwhile."""
        return max(0.0, self.took.cpu_s - sum(self._own_s))

    def held(self, row: Row) -> Held:
        """Return the cache of a row that knows no question."""
        if row.recall is not None:
            return self._recalled(row)
        if row.policy is None:
            held = Held(unkept(self.cache.copy()), self.cache.num_bytes)
        else:
            with stopwatch() as took:
                cache = pruned(self.cache, self._witness, row.policy, Budget(ratio=row.kept))
            held = Held(cache, cache.num_bytes, cpu_s=self._own_s[row.policy] + took.cpu_s)
        return held if row.codec is None else self._coded(row.codec, held)

    def asked(self, question: tuple[int, ...]) -> "Reading":
        """Return the reading with a question after the text; policies are not asked again for texts of their own."""
        other = object.__new__(Reading)
        other._engine, other._witness, other._own_s = self._engine, self._witness, self._own_s
        other.cache, other.took = self.cache.copy(), self.took
        other.token_ids = (*self.token_ids, *question)
        other.scores = self._engine.prefill(question, other.cache, question_tokens=len(question), is_last=False)
        return other

    def aware(self, row: Row, question_tokens: int) -> Held | None:
        """Return the cache of a row that was compressed with the question in it.

        Args:
            row: of a policy.
            question_tokens: how many of the last tokens are the question.

        Returns:
            None for policies that judge by texts of their own: they would have to read them once more.
        """
        if row.policy is None or next(iter(self._witness.policies[row.policy].probes((1, 2), _encoded)), None):
            return None
        cache = pruned(self.cache, self._witness, row.policy, Budget(ratio=row.kept), question_tokens)
        return Held(cache, cache.num_bytes)

    def _recalled(self, row: Row) -> Held:
        recalling = Recalling(row.recall, resident=Budget(ratio=row.kept))
        with stopwatch() as took:
            if row.recall.needs:
                cache = self._engine.new_cache(recalling)
                self._engine.prefill(self.token_ids, cache)
            else:
                cache = self._engine.attach(self._engine.detach(self.cache), recalling)
        room = 0
        for layer in cache.memory_layers:
            shape = layer.shape
            token_bytes = 2 * shape.kv_heads * shape.head_dim * layer.stretches[0].keys.element_size()
            room += getattr(layer, "num_back", 0) * token_bytes
        return Held(cache, cache.num_bytes + room, cpu_s=took.cpu_s)

    def _coded(self, codec: str, held: Held) -> Held:
        """Return what comes back from a codec."""
        engine = self._engine
        ropes = [one.rope for one in engine.shapes]
        needs = CODECS.parse(codec).needs
        with stopwatch() as took:
            kv = engine.detach(held.cache)
            queries, importance = self._looked_at(held.cache) if needs else (None, None)
            made = encode(
                kv, codec, codec, ropes, fingerprint=engine.fingerprint, importance=importance, queries=queries
            )
            cache = engine.attach(decode(made, ropes))
        num_values = sum(one.numel() for layer in kv.layers for side in (KEYS, VALUES) for one in layer.heads(side))
        parts = {name: part for name, part in made.parts.items() if name.partition(".")[0] in (KEYS, VALUES)}
        return Held(cache, held.num_bytes, made.num_bytes, bits_per_value(parts, num_values), held.cpu_s + took.cpu_s)

    def _looked_at(self, cache: MemoryCache) -> tuple[list[Tensor], list[Tensor]]:
        """Return the newest queries of each layer, and the attention that each kept token got from them."""
        queries, importance = [], []
        for read, kept in zip(self.cache.memory_layers, cache.memory_layers, strict=True):
            shape = read.shape
            if read.queries is None or read.query_positions is None:
                own, at = read.stretches[0].keys.new_empty((shape.heads, 0, shape.head_dim)), torch.empty(0).long()
            else:
                own, at = read.queries[:, -CODEC_QUERIES:], read.query_positions[-CODEC_QUERIES:]
            keys, _, positions, _ = padded(kept.stretches)
            queries.append(own)
            importance.append(attention_weights(own, at, keys, positions, shape.scaling).sum((1, 2)))
        return queries, importance


def _encoded(text: str) -> list[int]:
    return [1]
