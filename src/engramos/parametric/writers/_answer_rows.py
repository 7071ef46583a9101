"""Questions with their answers as rows of tokens, padded into batches whose answers alone are learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import starts_at
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A prompt, and what the model shall go on with."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...] = ()
    """With the token that ends it; empty where the row is only read."""
    fact_id: str = ""

    @property
    def inputs(self) -> tuple[int, ...]:
        """All tokens that are read: all but an answer's last."""
        return (self.prompt + self.answer)[:-1] if self.answer else self.prompt


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of tokens, padded on the right."""

    rows: tuple[AnswerRow, ...]
    ids: Tensor
    """(rows, tokens) int64."""
    active: Tensor
    """Tokens on which an adapter acts: (rows, tokens) bool."""
    places: tuple[Tensor, Tensor]
    """Rows and tokens after which the answers' tokens come: two (answer tokens,) int64."""
    wanted: Tensor
    """The answers' tokens, row by row: (answer tokens,) int64."""


def question(base: BaseModel, text: str) -> tuple[int, ...]:
    """Return a question in the chat template, up to where the answer begins."""
    return tuple(base.chat_tokens([{"role": "user", "content": text}]))


def answered(base: BaseModel, prompt: str, answer: str, fact_id: str = "") -> AnswerRow:
    """Return a question with its answer in the chat template."""
    return AnswerRow(question(base, prompt), (*base.tokens(answer), base.end_token), fact_id)


def rows_of(base: BaseModel, facts: Sequence[Fact]) -> list[AnswerRow]:
    """Return a row for each trained question of each fact."""
    return [answered(base, text, fact.answer, fact.id) for fact in facts for text in fact.questions]


def batch_of(rows: Sequence[AnswerRow], device: torch.device, invocation: Sequence[int] = ()) -> Batch:
    """Return rows as one batch; an adapter acts from its invocation in the prompt on, and never on padding."""
    longest = max(len(row.inputs) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    active = torch.zeros(len(rows), longest, dtype=torch.bool)
    places: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        ids[number, : len(row.inputs)] = torch.tensor(row.inputs)
        active[number, starts_at(invocation, row.prompt) : len(row.inputs)] = True
        places += [(number, len(row.prompt) - 1 + step) for step in range(len(row.answer))]
    wanted = torch.tensor([token for row in rows for token in row.answer], dtype=torch.int64)
    first, second = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    moved = [one.to(device) for one in (ids, active, first, second, wanted)]
    return Batch(tuple(rows), moved[0], moved[1], (moved[2], moved[3]), moved[4])


def batches_of(
    rows: Sequence[AnswerRow], size: int, device: torch.device, invocation: Sequence[int] = (), seed: int = 0
) -> list[Batch]:
    """Return rows in shuffled batches of nearly equal size, at most `size` each."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    num = -(-len(rows) // size)
    return [batch_of([rows[at] for at in order[start::num]], device, invocation) for start in range(num)]


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


def check_facts(lesson: Lesson, writer: str) -> None:
    """Refuse a lesson without facts.

    Raises:
        InvalidInputError: if it has none.
    """
    if not lesson.facts:
        raise InvalidInputError(f"the writer {writer} learns from facts and the lesson has none: give 1 or more")


def text_of(lesson: Lesson) -> str:
    """Return the lesson's texts; where it has none, its facts as sentences."""
    if lesson.texts:
        return "\n\n".join(lesson.texts)
    return "\n".join(fact.statement or f"{fact.question} {fact.answer}" for fact in lesson.facts)
