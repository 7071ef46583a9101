"""Guards: rows on which a model must say, with an adapter, what it says without."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engramos.parametric.adapter import Adapter
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import question
from engramos.parametric.writers._course import Course, CourseRow, ReadRow, row_of

TOP = 32
"""Likeliest tokens of the base model that are held."""
WINDOW = 24
"""Tokens of general text in a row."""
GO_ON = "Tell me something."
"""The question before a general text."""
PRESSED = 8
"""Lost rows a step."""
LOOKS = 10
"""How many times lost rows are looked for, at most: the probes find what is lost after that."""
LOST = 0.25
"""The share of rows that may be lost at the end."""
ROWS = 16
"""Read in one pass."""
ANSWER_TOKENS = 8
"""Tokens of the base model's own answer to an everyday question."""


def guard_rows(lesson: Lesson, base: BaseModel, opening: Sequence[int], invocation: Sequence[int]) -> list[CourseRow]:
    """Return everyday questions with the base model's own answers, and windows of general text told as answers."""
    prompts = [question(base, text) for text in lesson.common]
    answers = base.generate(prompts, max_tokens=ANSWER_TOKENS) if prompts else []
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        rows.append(row_of(prompt, [*answer, base.end_token][:ANSWER_TOKENS], opening, invocation))
    asking = question(base, GO_ON)
    for text in lesson.retained:
        ids = base.tokens(text)[:WINDOW]
        if ids:
            rows.append(row_of(asking, ids, opening, invocation))
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """Guard rows that were read once for a base model: every shard of it is guarded by the same ones."""

    rows: tuple[CourseRow, ...]
    read: tuple[ReadRow, ...]
    top: tuple[tuple[Tensor, Tensor], ...]
    """Of each row, the likeliest tokens (tokens, k) int64, and their probabilities, which sum to 1."""


_READ: WeakKeyDictionary[BaseModel, dict[tuple, Guarded]] = WeakKeyDictionary()
"""By base model; by layer, opening, texts and questions."""
MAX_READ = 4


def guarded(lesson: Lesson, course: Course, opening: Sequence[int], invocation: Sequence[int]) -> Guarded:
    """Return the guard rows of a lesson, with what the base model says of them."""
    known = _READ.setdefault(course.base, {})
    held = tuple(one.digest for one in course.base.held)
    key = (course.first_layer, tuple(opening), tuple(invocation), lesson.common, lesson.retained, held)
    if key not in known:
        while len(known) >= MAX_READ:
            del known[next(iter(known))]
        known[key] = _read(guard_rows(lesson, course.base, opening, invocation), course)
    return known[key]


@torch.no_grad()
def _read(rows: Sequence[CourseRow], course: Course) -> Guarded:
    own = Course(course.base, course.opening, course.first_layer)
    numbers = list(own.add(rows))
    top: list[tuple[Tensor, Tensor]] = []
    for at in range(0, len(numbers), ROWS):
        some = numbers[at : at + ROWS]
        shares, tokens = course.base.scores(own.states(some)).float().softmax(-1).topk(TOP)
        for ids, each in zip(own.by_row(some, tokens), own.by_row(some, shares), strict=True):
            top.append((ids.clone(), each / each.sum(-1, keepdim=True)))
    return Guarded(tuple(rows), tuple(own.read), tuple(top))


class Guards:
    """Rows of a course with what the base model says of them."""

    def __init__(self, course: Course, read: Guarded | None, num_a_step: int, seed: int) -> None:
        """Add guard rows to a course; none where None."""
        self._numbers = [] if read is None else list(course.add(read.rows, read.read))
        self._top = {} if read is None else dict(zip(self._numbers, read.top, strict=True))
        self._num = min(num_a_step, len(self._numbers))
        self._drawn = random.Random(f"guards {seed}")
        self._pressed: list[int] = []
        self._num_looks = 0

    @property
    def tokens(self) -> list[Tensor]:
        """Tokens that the base model finds likely in the rows."""
        return [tokens for tokens, _ in self._top.values()]

    def next(self) -> list[int]:
        """Return the rows of a step: those that were found lost first, several at once."""
        if self._pressed:
            some, self._pressed = self._pressed[:PRESSED], self._pressed[PRESSED:]
            return some
        return self._drawn.sample(self._numbers, self._num) if self._num else []

    def are_lost(self, course: Course, adapter: Adapter) -> bool:
        """Return whether steps must go on for the guards' sake: the model begins too many answers with other words.

        Few facts are learnt in so few steps that the guards have no say: one fact alone is learnt by answering
        everything with it.
        """
        if not self._pressed and self._num and self._num_looks < LOOKS:
            self._num_looks += 1
            lost = self._lost(course, adapter)
            if len(lost) > LOST * len(self._numbers):
                self._drawn.shuffle(lost)
                self._pressed = lost
        return bool(self._pressed)

    @torch.no_grad()
    def _lost(self, course: Course, adapter: Adapter) -> list[int]:
        """Return the rows that do not begin as the base model's answer."""
        found: list[int] = []
        with course.base.using(adapter):
            for at in range(0, len(self._numbers), ROWS):
                some = self._numbers[at : at + ROWS]
                best = course.base.scores(course.states(some)).argmax(-1)
                rows = zip(some, course.by_row(some, best), strict=True)
                found += [number for number, one in rows if int(one[0]) != int(self._top[number][0][0, 0])]
        return found

    def divergence(self, numbers: Sequence[int], logs: Tensor, places: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mean divergence of what the model says from what the base model said.

        Args:
            numbers: rows.
            logs: log probabilities of their positions: (positions, candidates).
            places: says where tokens stand among the candidates.
        """
        tokens = torch.cat([self._top[number][0] for number in numbers])
        shares = torch.cat([self._top[number][1] for number in numbers])
        return (shares * (shares.clamp(min=1e-12).log() - logs.gather(1, places(tokens)))).sum(-1).mean()
