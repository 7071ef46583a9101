"""Rows of tokens that are read again and again while the top layers train: what lies below is computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from engramos.parametric.adapter import starts_at
from engramos.parametric.model import BaseModel, Packing, Prefix
from engramos.parametric.rows import padded_ids, question

WORDS = ("a b", "0 1")
"""Questions that begin differently."""
OPENING = 2
"""Last tokens of an answer's opening that an adapter of answers acts on."""
ROWS = 16
"""Read in one pass below the trained layers."""


@dataclass(frozen=True, slots=True)
class CourseRow:
    """Tokens after the shared opening: what is read before the adapter acts, and what follows."""

    asked: tuple[int, ...]
    """Read by the base model; may be empty."""
    told: tuple[int, ...]
    """From the invocation on; 2 tokens or more."""
    num_learnt: int
    """How many of the last tokens of `told` are learnt, 1 or more; fewer than all."""


def invocation_of(base: BaseModel, *, of_answers: bool = True) -> tuple[int, ...]:
    """Return the tokens by which the model's chat template opens an answer, or a question where it opens none.

    An adapter that acts from there on leaves what stands before to the base model: its KV cache is the same for all.
    Of an answer's opening the last tokens do: fewer are read in training, and two are seldom met elsewhere.

    Args:
        base: the model.
        of_answers: False for what opens a question of the user, without what ends the turn before.
    """
    message = [{"role": "user", "content": "x"}]
    asked, opened = base.chat_tokens(message, answers=False), base.chat_tokens(message)
    if of_answers and opened[: len(asked)] == asked and len(opened) > len(asked):
        return tuple(opened[len(asked) :][-OPENING:])
    alone = chat_opening(base)
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    first, second = (base.chat_tokens([*turns, {"role": "user", "content": text}]) for text in WORDS)
    later = first[: _num_alike(first, second)]
    num = 0
    while num < len(alone) and alone[-1 - num] == later[-1 - num]:
        num += 1
    shared = alone[len(alone) - num :]
    ended = [at for at, token in enumerate(shared) if token in base.ends]
    return tuple(shared[ended[-1] + 1 :] if ended else shared)


def chat_opening(base: BaseModel) -> list[int]:
    """Return the tokens by which every question begins in the chat template, up to its first word."""
    first, second = (list(question(base, text)) for text in WORDS)
    return first[: _num_alike(first, second)]


def _num_alike(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next(at for at, (one, other) in pairs if one != other)


def row_of(
    tokens: Sequence[int], learnt: Sequence[int], opening: Sequence[int], invocation: Sequence[int]
) -> CourseRow:
    """Return a prompt and what is learnt after it as a row.

    Args:
        tokens: the prompt, with the opening.
        learnt: 1 token or more.
        opening: that all rows share.
        invocation: from whose last occurrence on the adapter acts.
    """
    start = max(len(opening), min(starts_at(invocation, tokens), len(tokens) - 1))
    return CourseRow(tuple(tokens[len(opening) : start]), (*tokens[start:], *learnt), len(learnt))


@dataclass(frozen=True, slots=True, eq=False)
class ReadRow:
    """A row as the layers below the trained ones, and the base model before the invocation, have left it."""

    hidden: Tensor
    """What is told, but for its last token, before the first trained layer: (tokens, hidden)."""
    keys: tuple[Tensor, ...]
    """What is asked, in each trained layer: (kv_heads, tokens, head_dim)."""
    values: tuple[Tensor, ...]


@dataclass(slots=True, eq=False)
class Course:
    """Rows that are read again and again while the top layers train."""

    base: BaseModel
    opening: Prefix
    """Of what all rows begin with."""
    first_layer: int
    """The first that is trained."""
    rows: list[CourseRow] = field(default_factory=list)
    read: list[ReadRow] = field(default_factory=list)

    def add(self, rows: Sequence[CourseRow], read: Sequence[ReadRow] = ()) -> range:
        """Take rows, read through the layers below unless that was done before, and return their numbers."""
        start = len(self.rows)
        self.rows += rows
        self.read += read or self._read_all(rows)
        return range(start, len(self.rows))

    def _read_all(self, rows: Sequence[CourseRow]) -> list[ReadRow]:
        # rows of like length are read together, so that little is read in vain
        order = sorted(range(len(rows)), key=lambda at: len(rows[at].asked) + len(rows[at].told))
        found: dict[int, ReadRow] = {}
        for at in range(0, len(order), ROWS):
            some = order[at : at + ROWS]
            found |= dict(zip(some, self._read([rows[number] for number in some]), strict=True))
        return [found[number] for number in range(len(rows))]

    @torch.no_grad()
    def _read(self, rows: Sequence[CourseRow]) -> Iterator[ReadRow]:
        ids = padded_ids([(*row.asked, *row.told[:-1]) for row in rows])
        hidden = self.base.run(self.base.embedded(ids), 0, self.first_layer, prefix=self.opening)
        longest = max(len(row.asked) for row in rows)
        keys, values = ({}, {}) if not longest else self._asked(hidden[:, :longest])
        for at, row in enumerate(rows):
            num = len(row.asked)
            own = hidden[at, num : num + len(row.told) - 1].clone()
            parts = (tuple(one[at, :, :num].clone() for one in layers.values()) for layers in (keys, values))
            yield ReadRow(own, *parts)

    def _asked(self, hidden: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        return self.base.keys_and_values(hidden, self.first_layer, prefix=self.opening)

    def _before(self, numbers: Sequence[int]) -> tuple[Prefix, Packing]:
        """Return what stands before the told tokens of rows, one row after the other, and whose each token is."""
        opening, device = self.opening, self.read[numbers[0]].hidden.device
        start = opening.num_tokens
        asked = [len(self.rows[number].asked) for number in numbers]
        told = [len(self.rows[number].told) - 1 for number in numbers]
        whose = [[at] * num for at, num in enumerate(told)]
        before = [[-1] * start, *([at] * num for at, num in enumerate(asked))]
        places = [range(start + first, start + first + num) for first, num in zip(asked, told, strict=True)]
        earlier = [range(start), *(range(start, start + num) for num in asked)]
        packing = Packing(
            *(
                torch.tensor(list(chain(*one)), dtype=torch.int64, device=device)
                for one in (whose, places, before, earlier)
            )
        )
        if not start + sum(asked):
            return opening, packing
        keys, values = (
            {layer: self._joined(numbers, name, layer) for layer in range(self.first_layer, self.base.num_layers)}
            for name in ("keys", "values")
        )
        return Prefix(keys, values, start + sum(asked)), packing

    def _joined(self, numbers: Sequence[int], name: str, layer: int) -> Tensor:
        """Return keys or values of the opening, and of what each row asks: (kv_heads, tokens, head_dim)."""
        first = [one] if (one := getattr(self.opening, name).get(layer)) is not None else []
        held = [getattr(self.read[number], name) for number in numbers]
        return torch.cat([*first, *(one[layer - self.first_layer] for one in held if one)], dim=1)

    def states(self, numbers: Sequence[int], *, is_checkpointed: bool = False) -> Tensor:
        """Return the last hidden states from which the learnt tokens are told, row after row: (tokens, hidden)."""
        hidden = torch.cat([self.read[number].hidden for number in numbers])[None]
        before, packing = self._before(numbers)
        out = self.base.run(hidden, self.first_layer, prefix=before, packing=packing, is_checkpointed=is_checkpointed)[
            0
        ]
        rows = out.split([len(self.rows[number].told) - 1 for number in numbers])
        return torch.cat([one[-self.rows[number].num_learnt :] for number, one in zip(numbers, rows, strict=True)])

    def learnt(self, numbers: Sequence[int]) -> Tensor:
        """Return the learnt tokens of rows, row after row: (tokens,) int64."""
        return torch.tensor([token for n in numbers for token in self.rows[n].told[-self.rows[n].num_learnt :]])

    def by_row(self, numbers: Sequence[int], values: Tensor) -> Iterator[Tensor]:
        """Yield the values of each row out of values of all learnt tokens."""
        yield from values.split([self.rows[number].num_learnt for number in numbers])
