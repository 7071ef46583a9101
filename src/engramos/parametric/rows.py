"""Questions, answers and texts as rows of tokens: read in batches, where what comes after the prompt is learnt.

All that writes, forgets or probes makes its rows here. Words become tokens in `question`, `answered`, `continued`,
`rows_of` and `pieces`; rows become tensors in `batch_of` and `batches_of`; `told` picks the hidden states that answers
are told from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.parametric.adapter import starts_at
from engramos.parametric.facts import Fact
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, and what the model shall go on with."""

    prompt: tuple[int, ...]
    """1 token or more."""
    answer: tuple[int, ...] = ()
    """With the token that ends it, if that is learnt too; empty where the prompt is only read."""
    fact_id: str = ""
    """Of the fact that is asked for; empty for anything else."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """All tokens that are read: all but an answer's last."""
        return (self.prompt + self.answer)[:-1] if self.answer else self.prompt

    @property
    def places(self) -> range:
        """Tokens after which the answer's tokens come; the prompt's last alone where there is no answer."""
        return range(len(self.prompt) - 1, len(self.prompt) - 1 + max(1, len(self.answer)))


def question(base: BaseModel, *parts: str) -> tuple[int, ...]:
    """Return a question in the chat template, up to where the answer begins.

    Args:
        base: the model.
        parts: of the question, such as notes and what is asked about them; an empty line stands between them.
    """
    return tuple(base.chat_tokens([{"role": "user", "content": "\n\n".join(parts)}]))


def answered(base: BaseModel, prompt: str, answer: str, fact_id: str = "", *, with_end: bool = True) -> Row:
    """Return a question with its answer in the chat template, and with the token that ends answers or without."""
    end = (base.end_token,) if with_end else ()
    return Row(question(base, prompt), (*base.tokens(answer), *end), fact_id)


def continued(base: BaseModel, fact: Fact) -> Row:
    """Return a fact's cloze as plain text, with the answer that goes on from it."""
    return Row(tuple(base.tokens(fact.cloze)), tuple(base.tokens(f" {fact.answer}")), fact.id)


def rows_of(base: BaseModel, facts: Sequence[Fact], *, with_end: bool = True, with_clozes: bool = False) -> list[Row]:
    """Return a row for each trained question of each fact, and after them one for its cloze where that is wanted."""
    rows = []
    for fact in facts:
        rows += [answered(base, text, fact.answer, fact.id, with_end=with_end) for text in fact.questions]
        if with_clozes and fact.cloze:
            rows.append(continued(base, fact))
    return rows


def pieces(ids: Sequence[int], size: int, *, is_joined: bool = False) -> list[Row]:
    """Return the tokens of a text as rows that each go on from their first token; a lone last token is left out.

    Args:
        ids: of the text.
        size: tokens of a piece, at most; 1 or more, and 2 or more where pieces are not joined.
        is_joined: whether each piece has one token more, with which the next begins, so that every token of the text
            but its first is told by a row.
    """
    found = (tuple(ids[at : at + size + is_joined]) for at in range(0, len(ids), size))
    return [Row(one[:1], one[1:]) for one in found if len(one) > 1]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of tokens, padded on the right."""

    rows: tuple[Row, ...]
    ids: Tensor
    """(rows, tokens) int64."""
    active: Tensor
    """Tokens on which an adapter acts: (rows, tokens) bool."""
    places: tuple[Tensor, Tensor]
    """Rows and tokens after which the answers' tokens come: two (answer tokens,) int64."""
    wanted: Tensor
    """The answers' tokens, row by row: (answer tokens,) int64."""


def batch_of(rows: Sequence[Row], device: torch.device, invocation: Sequence[int] = ()) -> Batch:
    """Return rows as one batch; an adapter acts from its invocation in the prompt on, and never on padding."""
    ids = padded_ids([row.inputs for row in rows])
    active = torch.zeros(ids.shape, dtype=torch.bool)
    places: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        active[number, starts_at(invocation, row.prompt) : len(row.inputs)] = True
        places += [(number, place) for place in row.places if row.answer]
    wanted = torch.tensor([token for row in rows for token in row.answer], dtype=torch.int64)
    first, second = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    moved = [one.to(device) for one in (ids, active, first, second, wanted)]
    return Batch(tuple(rows), moved[0], moved[1], (moved[2], moved[3]), moved[4])


def batches_of(
    rows: Sequence[Row], size: int, device: torch.device, invocation: Sequence[int] = (), seed: int = 0
) -> list[Batch]:
    """Return rows in shuffled batches of nearly equal size, at most `size` each."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    num = -(-len(rows) // size)
    return [batch_of([rows[at] for at in order[start::num]], device, invocation) for start in range(num)]


def padded_ids(sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return tokens of several lengths as one batch, padded on the right: (rows, tokens) int64.

    What stands in the padding reaches no other token; 0 is a token of every model.
    """
    return padded([torch.tensor(one, dtype=torch.int64) for one in sequences])


def padded(states: Sequence[Tensor]) -> Tensor:
    """Return hidden states, or tokens, of several lengths as one batch, padded on the right with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)


def told(hidden: Tensor, rows: Sequence[Row]) -> Tensor:
    """Return the hidden states from which the answers of rows are told, row after row: (places, hidden).

    Args:
        hidden: of the rows, read from their first token on: (rows, tokens, hidden).
        rows: each with its answer, or without where the prompt's last state is wanted.
    """
    return torch.cat([hidden[at, row.places.start : row.places.stop] for at, row in enumerate(rows)])


def device_of(base: BaseModel) -> torch.device:
    """Return where the base model computes."""
    return base.embedded(torch.zeros(1, 1, dtype=torch.int64)).device


def opening_of_a_turn(base: BaseModel) -> tuple[int, ...]:
    """Return the tokens with which the chat template opens a user's turn; empty where they cannot be told apart."""
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    head = base.chat_tokens(before, answers=False)
    one, other = (base.chat_tokens([*before, {"role": "user", "content": text}], answers=False) for text in "17")
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return tuple(one[len(head) : same]) if one[: len(head)] == head else ()
