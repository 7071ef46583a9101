"""Many prompts answered together: those that begin alike read their beginning once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engramos.engines._batch_cache import BatchCache
from engramos.engines._decode import chosen
from engramos.engines._mixture import Mixture, start_of
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ContextLengthError, UnsupportedError
from engramos.parametric.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts that are answered together."""

    prefix_tokens: int
    """How many tokens at their beginning are the same, and read once; 0 where nothing is shared."""
    members: tuple[int, ...]
    """Numbers of the prompts."""


def grouped(prompts: Sequence[Sequence[int]], limits: Sequence[int] | None = None) -> list[Group]:
    """Return groups of prompts that save most reading, each with one shared beginning; all others are the last group.

    Each prompt is a path in a trie over tokens. From the leaves up, a node either gathers all prompts below it that are
    in no group yet, or leaves them to shorter beginnings; for each number of prompts that are left, the best way to it
    is kept. A prompt's last token is never shared: its scores are the prompt's own.

    Source: BatchLLM, https://arxiv.org/abs/2412.03594, its prefixes of one level found by dynamic programming.
    Differs: the number of prompts that are left is part of the state, so that the result is the best there is.

    Args:
        prompts: of 1 or more tokens each.
        limits: how many tokens of each may be shared at most; all but the last where None.
    """
    most = [min(len(one) - 1, 2**62 if limits is None else limits[number]) for number, one in enumerate(prompts)]
    order = sorted(range(len(prompts)), key=lambda number: tuple(prompts[number]))
    nodes: list[tuple[int, _Ways]] = []
    for at, number in enumerate(order):
        ways: _Ways = {1: _Way(0, number, None)}
        after = order[at + 1] if at + 1 < len(order) else number
        num = min(most[number], most[after]) if after != number else 0
        depth = _num_shared(prompts[number], prompts[after], num)
        while nodes and nodes[-1][0] > depth:
            above, others = nodes.pop()
            ways = _gathered(_joined(others, ways), above)
        if nodes and nodes[-1][0] == depth:
            ways = _joined(nodes.pop()[1], ways)
        nodes.append((depth, ways))
    if not nodes:
        return []
    best = max(nodes[0][1].values(), key=lambda way: way.saved)
    groups = [Group(depth, tuple(sorted(_leaves(members)))) for depth, members in _leaves(best.groups)]
    alone = tuple(sorted(_leaves(best.left)))
    return [*groups, Group(0, alone)] if alone else groups


@dataclass(frozen=True, slots=True)
class _Way:
    """How the prompts below a node may be grouped."""

    saved: int
    """Tokens that need not be read."""
    left: Any
    """Prompts in no group, as nested pairs."""
    groups: Any
    """Groups, as nested pairs of lists [depth, prompts as nested pairs]."""


_Ways = dict[int, _Way]
"""The best way for each number of prompts that are left."""


def _joined(first: _Ways, second: _Ways) -> _Ways:
    """Return the ways of two parts of one node."""
    ways: _Ways = {}
    for num, one in first.items():
        for other_num, other in second.items():
            saved = one.saved + other.saved
            if num + other_num not in ways or ways[num + other_num].saved < saved:
                ways[num + other_num] = _Way(saved, (one.left, other.left), (one.groups, other.groups))
    return ways


def _gathered(ways: _Ways, depth: int) -> _Ways:
    """Return the ways of a node, the one among them that gathers all prompts that are left."""
    num, best = max(ways.items(), key=lambda item: item[1].saved + (item[0] - 1) * depth)
    saved = best.saved + (num - 1) * depth
    if num < 2 or (0 in ways and ways[0].saved >= saved):
        return ways
    return {**ways, 0: _Way(saved, None, (best.groups, [depth, best.left]))}


def _leaves(tree: Any) -> Iterator[Any]:
    """Yield what nested pairs hold."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting.extend(one)
        elif one is not None:
            yield one


def _num_shared(first: Sequence[int], second: Sequence[int], num: int) -> int:
    """Return how many tokens two prompts share at their beginning, `num` at most."""
    return next((at for at in range(num) if first[at] != second[at]), num)


def generate_batch(
    engine: Transformers,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    adapters: Sequence[Adapter | None] | None = None,
) -> list[list[int]]:
    """Return the answer to each prompt, as the engine would give it alone.

    Prompts are grouped by their shared beginnings; each group decodes as one batch, and a prompt leaves it when its
    answer ends. A beginning is shared only as far as no adapter acts on it.

    Args:
        engine: with the model.
        prompts: tokens, 1 or more each; none is allowed.
        sampling: how tokens are chosen, and when each answer ends; every prompt draws from the same seed.
        adapters: a further one for each prompt, or None for no further one; beside those of the engine.

    Returns:
        New tokens of each prompt, in the order of the prompts.

    Raises:
        ConfigError: if a prompt is empty, or there are not as many adapters as prompts.
        ContextLengthError: if a prompt does not fit the model's window.
        InvalidInputError, ModelMismatchError: if an adapter does not fit.
    """
    if adapters is not None and len(adapters) != len(prompts):
        raise ConfigError(f"there are {len(adapters)} adapters and {len(prompts)} prompts: give one, or None, for each")
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ConfigError(f"prompt {number} has no tokens: give a text that is not empty")
        if len(prompt) > engine.max_tokens:
            raise ContextLengthError(len(prompt), engine.max_tokens)
    further: Sequence[Adapter | None] = [None] * len(prompts) if adapters is None else adapters
    for one in dict.fromkeys(further):
        if one is not None:
            engine._hosted.digest_of(one)
    rows = [(*engine.adapters, *(() if one is None else (one,))) for one in further]
    answers: list[list[int]] = [[] for _ in prompts]
    for members, prefix_tokens, own in _batches(engine, prompts, rows):
        # the longest first, so that prompts that still have tokens to read are the first rows
        order = sorted(members, key=lambda number: -len(prompts[number]))
        chosen = [prompts[number] for number in order], [rows[number] for number in order]
        found = _Batch(engine, *chosen, prefix_tokens, own, sampling).answers()
        for number, answer in zip(order, found, strict=True):
            answers[number] = answer
    return answers


def _batches(
    engine: Transformers, prompts: Sequence[Sequence[int]], rows: Sequence[tuple[Adapter, ...]]
) -> Iterator[tuple[Sequence[int], int, Adapter | None]]:
    """Yield the numbers of prompts that are answered together, how many tokens they share, and their prefix's adapter.

    Raises:
        UnsupportedError: if a prompt has two adapters with a prefix.
    """
    plain, prefixed = [], dict[Adapter, list[int]]()
    for number, row in enumerate(rows):
        owners = [one for one in row if one.prefix is not None]
        if len(owners) > 1:
            raise UnsupportedError("a prefix stands at the beginning: give each prompt one adapter that has one")
        (prefixed.setdefault(owners[0], []) if owners else plain).append(number)
    for own, members in prefixed.items():
        yield members, 0, own
    limits = [min((start_of(one, prompts[number]) for one in rows[number]), default=2**62) for number in plain]
    for group in grouped([prompts[number] for number in plain], limits):
        yield [plain[member] for member in group.members], group.prefix_tokens, None


class _Batch:
    """One group, from its shared beginning to the end of its last answer."""

    def __init__(
        self,
        engine: Transformers,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[tuple[Adapter, ...]],
        prefix_tokens: int,
        own: Adapter | None,
        sampling: Sampling,
    ) -> None:
        self._engine = engine
        self._device = engine._hosted.model.device
        self._sampling = sampling
        self._mixture = Mixture(engine._hosted.model, adapters)
        prefix = None
        self._offset = 0
        if own is not None:
            prefix = engine.adapted((own,)).new_cache()
            self._offset = prefix.next_position
        elif prefix_tokens:
            plain = engine.adapted(())
            prefix = plain.new_cache()
            plain.prefill(prompts[0][:prefix_tokens], prefix)
        self._cache = BatchCache(engine.shapes, prefix, len(prompts))
        self._prefix_tokens = prefix_tokens
        self._prompts = [list(prompt) for prompt in prompts]
        starts = [[start_of(one, prompt, self._offset) for one in self._mixture.adapters] for prompt in prompts]
        self._starts = torch.tensor(starts, dtype=torch.int64, device=self._device).view(len(prompts), -1)
        self._answers: list[list[int]] = [[] for _ in prompts]
        self._sources = [torch.Generator(device="cpu").manual_seed(sampling.seed) for _ in prompts]

    @torch.no_grad()
    def answers(self) -> list[list[int]]:
        """Return the answers, in the order of the prompts."""
        with self._engine._hosted.turn:
            self._read()
        rows = list(range(len(self._prompts)))
        last = [prompt[-1] for prompt in self._prompts]
        while rows:
            at = [self._offset + len(self._prompts[row]) - 1 + len(self._answers[row]) for row in rows]
            with self._engine._hosted.turn:
                scores = self._forward([[token] for token in last], [[place] for place in at], rows)
            going = []
            for place, row in enumerate(rows):
                token = chosen(scores[place], self._sampling, self._sources[row])
                if not self._is_over(row, token):
                    going.append(place)
                last[place] = token
            if len(going) < len(rows):
                self._cache.keep_rows(going)
                rows, last = ([one[place] for place in going] for one in (rows, last))
        return self._answers

    def _read(self) -> None:
        """Read what each prompt has of its own, but for its last token, block by block."""
        own = [prompt[self._prefix_tokens : -1] for prompt in self._prompts]
        start, longest = 0, len(own[0])
        while start < longest:
            active = sum(len(ids) > start for ids in own)
            end = min(longest, start + max(1, self._engine.block_tokens // active))
            tokens, places = [], []
            for ids in own[:active]:
                block = ids[start:end]
                filling = end - start - len(block)
                first = self._offset + self._prefix_tokens + start
                tokens.append(block + [0] * filling)
                places.append([*range(first, first + len(block)), *[-1] * filling])
            self._forward(tokens, places, range(active))
            start = end

    def _forward(self, tokens: list[list[int]], places: list[list[int]], rows: Sequence[int]) -> Tensor:
        """Return the scores after the last column: (rows, vocabulary)."""
        positions = torch.tensor(places, device=self._device)
        with self._cache.passing(positions), self._mixture.passing(positions, self._starts, rows):
            out = self._engine._hosted.model(
                input_ids=torch.tensor(tokens, device=self._device),
                position_ids=positions.clamp(min=0),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
                memory=self._cache,
            )
        return out.logits[:, -1]

    def _is_over(self, row: int, token: int) -> bool:
        """Take a token into an answer, and return whether the answer ends with it."""
        if token in self._engine._hosted.ends:
            return True
        answer, sampling = self._answers[row], self._sampling
        answer.append(token)
        if sampling.stop:
            text = self._engine.text(answer)
            if any(stop in text for stop in sampling.stop):
                return True
        is_full = self._offset + len(self._prompts[row]) + len(answer) > self._engine.max_tokens
        return len(answer) == sampling.max_tokens or is_full
