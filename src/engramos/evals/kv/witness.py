"""One prefill for many policies: each sees what it would have seen alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping
from engramos.activation.policies.base import Policy
from engramos.activation.view import PROBE, LayerView
from engramos.engines._cache import MemoryCache
from engramos.evals.kv.stopwatch import stopwatch

_MARK = ":"
"""Between the place of a policy and the name of a note of its own."""


class Witness(Policy):
    """Takes note for several policies, and removes nothing; `pruned` then cuts a copy as one of them would have.

    Notes of a policy's own lie apart from those of others, and a text that one policy wants to have read is seen by
    that one alone.
    """

    def __init__(self, policies: Sequence[Policy], num_queries: int = 0) -> None:
        """Stand for these policies, and keep at least `num_queries` of the newest queries."""
        self.policies = tuple(policies)
        self.cpu_s = [0.0 for _ in policies]
        """CPU seconds that each policy's own reading and observing took, since `begin`."""
        self._num_queries = num_queries
        self._probing: int | None = None

    @property
    def needs(self) -> frozenset[str]:
        """All that one of them needs."""
        return frozenset().union(*(one.needs for one in self.policies))

    @property
    def observes(self) -> bool:
        """Whether one of them does."""
        return any(one.observes for one in self.policies)

    @property
    def num_queries(self) -> int:
        """As many as the one that asks for most."""
        return max((self._num_queries, *(one.num_queries for one in self.policies)))

    def begin(self) -> None:
        """Count CPU seconds from here on."""
        self.cpu_s = [0.0 for _ in self.policies]

    def observe(self, view: LayerView) -> None:
        """Let each policy take note; of a probe, the one that asked for it."""
        notes = dict(view.notes)
        shared = {name: note for name, note in notes.items() if _MARK not in name}
        for place, policy in enumerate(self.policies):
            if not policy.observes or (view.phase == PROBE and place != self._probing):
                continue
            with self._timed(place):
                view.notes = shared | own_notes(notes, place)
                policy.observe(view)
                made = {name: note for name, note in view.notes.items() if name not in shared}
            notes |= {f"{place}{_MARK}{name}": note for name, note in made.items()}
        view.notes = notes

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Yield each policy's texts."""
        for place, policy in enumerate(self.policies):
            for text in policy.probes(tokens, encode):
                self._probing = place
                counted = self.cpu_s[place]
                with stopwatch() as took:
                    yield text
                # what it observed meanwhile is in these seconds already
                self.cpu_s[place] = counted + took.cpu_s
        self._probing = None

    def score(self, view: LayerView) -> Tensor:
        """Return equal scores: nothing is ever removed."""
        return torch.zeros(view.positions.shape, device=view.keys.device)

    @contextmanager
    def _timed(self, place: int) -> Iterator[None]:
        with stopwatch() as took:
            yield
        self.cpu_s[place] += took.cpu_s


def own_notes(notes: dict[str, Tensor], place: int) -> dict[str, Tensor]:
    """Return the notes of one policy by the names that it gave them."""
    begin = f"{place}{_MARK}"
    return {name.removeprefix(begin): note for name, note in notes.items() if name.startswith(begin)}


def reading(witness: Witness) -> Keeping:
    """Return how a cache is kept while its text is read: whole, but with the texts that policies ask for."""
    return Keeping(witness, prefill=Budget(ratio=1.0))


def pruned(cache: MemoryCache, witness: Witness, place: int, budget: Budget, question_tokens: int = 0) -> MemoryCache:
    """Return a copy of a cache, cut to a budget as one policy would have cut it, had it been alone.

    The copy has no policy any more: what is read on it is not observed.

    Args:
        cache: read under `reading(witness)`.
        witness: which has seen it.
        place: of the policy among those of the witness.
        budget: what stays.
        question_tokens: how many of the last tokens are the question; 0 where it is not known.
    """
    policy = witness.policies[place]
    one = cache.copy()
    one.keeping = Keeping(policy, prefill=budget)
    for layer in one.memory_layers:
        if layer.policy is None:
            continue
        layer.policy = policy
        num = policy.num_queries
        if layer.queries is not None and layer.query_positions is not None:
            layer.queries = layer.queries[:, -num:] if num else None
            layer.query_positions = layer.query_positions[-num:] if num else None
        for stretch in layer.stretches:
            shared = {name: note for name, note in stretch.notes.items() if _MARK not in name}
            stretch.notes = shared | own_notes(stretch.notes, place)
    one.prompt_tokens = one.next_position
    one.prune_prompt(question_tokens)
    return unkept(one)


def unkept(cache: MemoryCache) -> MemoryCache:
    """Return the cache itself, without its policy, notes and queries: keys and values alone."""
    cache.keeping = None
    for layer in cache.memory_layers:
        layer.policy, layer.queries, layer.query_positions = None, None, None
        for stretch in layer.stretches:
            stretch.notes = {}
    return cache
