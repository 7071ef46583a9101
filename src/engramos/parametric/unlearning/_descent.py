"""The descent that gradient unlearners share: they differ in what they make of the forgotten answers' likelihood."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.probes._reading import first_layer
from engramos.parametric.rows import Row, device_of
from engramos.parametric.training._rows import (
    check_carried,
    fact_rows,
    reached,
    text_rows,
    trainable,
)
from engramos.parametric.training.chunked_loss import divergence, token_log_probabilities
from engramos.parametric.unlearning.base import Unlearner
from engramos.parametric.writers._course import Course, CourseRow, row_of
from engramos.parametric.writers._guards import guard_rows
from engramos.parametric.writers._low_rank import finished

ROWS_A_PASS = 8
"""Rows that are read together, so that memory does not grow with what is forgotten."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of forgotten answers, one number a row."""

    now: Tensor
    """The sum of the log-probabilities of the answer's tokens; differentiable."""
    given: Tensor
    """The same with the adapter as it was given."""
    lengths: Tensor
    """Tokens of the answer."""


@dataclass(frozen=True, slots=True)
class Descending(Unlearner):
    """Changes an adapter until forgotten answers are no likelier than without it.

    Each step reads all forgotten rows, and as many kept rows and general texts as are still known, at least a pass of
    each, drawn anew. Kept rows have the cross entropy of their answers as loss, general texts the divergence from the
    base model. A row that the base model itself finds about as likely is left alone, and when all are, the descent
    ends: further steps would do damage, and an answer far unlikelier than it ever was betrays that it was there.
    """

    learning_rate: float = 1e-3
    """Of Adam; above 0."""
    max_steps: int = 40
    """Steps at most, 1 or more; usually it ends long before."""
    forgotten_weight: float = 1.0
    """Of the loss of what must go; above 0."""
    kept_weight: float = 1.0
    """Of the loss of what must stay; 0 or more, and 0 for none."""
    tolerance: float = 0.5
    """By how many nats a token a forgotten answer may stay likelier than without the adapter; 0 or more."""

    def __post_init__(self) -> None:
        check_above_zero(learning_rate=self.learning_rate, forgotten_weight=self.forgotten_weight)
        check_zero_or_more(kept_weight=self.kept_weight, tolerance=self.tolerance)
        if self.max_steps < 1:
            raise ConfigError(f"max_steps is {self.max_steps}: give 1 or more")

    @abstractmethod
    def _losses(self, answers: Likelihood) -> Tensor:
        """Return the loss of each forgotten row, (rows,); its descent makes the answers unlikely."""

    def unlearn(self, adapter: LowRank, forgotten: Lesson, kept: Lesson, base: BaseModel, *, seed: int = 0) -> LowRank:
        """Return the adapter after the descent; see `Unlearner.unlearn`.

        Raises:
            InvalidInputError: if there is nothing to forget, or the adapter acts on no question of it.
            UnsupportedError: if the adapter acts on the module that makes the scores.
            ModelError: if a loss is not finite.
        """
        rows = forgotten_rows(adapter, forgotten, base)
        answers = _Answers(adapter, base)
        gone, keeping = answers.add(rows), _Keeping(answers, adapter, kept, base, seed)
        lengths = torch.tensor([len(row.answer) for row in rows], device=device_of(base))
        given, limits = answers.sums(gone, adapter), answers.sums(gone, None) + self.tolerance * lengths
        changed = trainable(adapter)
        optimizer = torch.optim.Adam(changed.tensors().values(), lr=self.learning_rate)
        for _ in range(self.max_steps):
            known = 0
            for part in _parts(len(gone)):
                now = torch.stack([one.sum() for one in answers.log_probabilities(gone[part], changed)])
                known += self._forget(
                    Likelihood(now, given[part], lengths[part]), limits[part], self.forgotten_weight / len(gone)
                )
            if not known:
                break
            keeping.learn(changed, max(known, ROWS_A_PASS), self.kept_weight)
            optimizer.step()
            optimizer.zero_grad()
        return finished(changed)

    def _forget(self, answers: Likelihood, limits: Tensor, weight: float) -> int:
        """Add the gradients of rows that are still known; return how many those are."""
        losses = self._losses(answers)
        if not bool(torch.isfinite(losses).all()):
            raise ModelError("unlearning gave a loss that is not finite: use a lower learning rate")
        is_known = answers.now.detach() > limits
        if bool(is_known.any()):
            (losses[is_known].sum() * weight).backward()
        return int(is_known.sum())


class _Answers:
    """Rows that are read again and again; the layers below the adapter, and what stands before it acts, but once."""

    def __init__(self, adapter: LowRank, base: BaseModel) -> None:
        self._base, self._invocation = base, adapter.invocation
        self._course = Course(base, base.prefix_of(()), first_layer(base, adapter))

    def add(self, rows: Sequence[Row]) -> list[int]:
        """Return the numbers of rows on whose answer the adapter acts."""
        return self.take([row_of(row.prompt, row.answer, (), self._invocation) for row in rows])

    def take(self, rows: Sequence[CourseRow]) -> list[int]:
        """Return the numbers of rows of a course without an opening."""
        return list(self._course.add(rows))

    def states(self, numbers: Sequence[int], adapter: LowRank | None) -> Tensor:
        """Return the hidden states from which the answers of rows are told, row after row: (tokens, hidden)."""
        with self._base.using(adapter):
            return self._course.states(numbers)

    def log_probabilities(self, numbers: Sequence[int], adapter: LowRank | None) -> list[Tensor]:
        """Return the log-probabilities of each row's answer tokens: (answer,) float32 for each row."""
        states = self.states(numbers, adapter)
        tokens = self._course.learnt(numbers).to(states.device)
        return list(self._course.by_row(numbers, token_log_probabilities(self._base.scores, states, tokens)))

    @torch.no_grad()
    def sums(self, numbers: Sequence[int], adapter: LowRank | None) -> Tensor:
        """Return the sum of the log-probabilities of each row's answer."""
        parts = (self.log_probabilities(numbers[part], adapter) for part in _parts(len(numbers)))
        return torch.stack([one.sum() for logs in parts for one in logs])


class _Keeping:
    """What must stay: drawn anew in each step.

    General texts stand as they are where the adapter acts on them, and as answers where it acts on answers alone.
    """

    def __init__(self, answers: _Answers, adapter: LowRank, kept: Lesson, base: BaseModel, seed: int) -> None:
        self._answers, self._base = answers, base
        self._random = torch.Generator().manual_seed(seed)
        self._facts = answers.add(reached(fact_rows(kept, base, with_end=True), adapter))
        plain = [] if adapter.invocation else text_rows(kept.retained, base)
        told = kept if adapter.invocation else replace(kept, retained=())
        self._texts = answers.add(plain) + answers.take(guard_rows(told, base, (), adapter.invocation))
        with torch.no_grad():
            self._taught = {number: answers.states([number], None) for number in self._texts}

    def learn(self, adapter: LowRank, num: int, weight: float) -> None:
        """Add the gradients of at most so many kept rows, and of as many texts."""
        if not weight:
            return
        facts, texts = self._drawn(self._facts, num), self._drawn(self._texts, num)
        for part in _parts(len(facts)):
            logs = self._answers.log_probabilities(facts[part], adapter)
            (-torch.stack([one.mean() for one in logs]).sum() * (weight / len(facts))).backward()
        for part in _parts(len(texts)):
            hidden = self._answers.states(texts[part], adapter)
            taught = torch.cat([self._taught[number] for number in texts[part]])

            def teacher(first: int, last: int, taught: Tensor = taught) -> Tensor:
                return self._base.scores(taught[first:last])

            (divergence(self._base.scores, hidden, teacher) * (weight * len(texts[part]) / len(texts))).backward()

    def _drawn(self, numbers: Sequence[int], num: int) -> list[int]:
        drawn = torch.randperm(len(numbers), generator=self._random)[:num].tolist()
        return [numbers[at] for at in drawn]


def forgotten_rows(adapter: LowRank, forgotten: Lesson, base: BaseModel) -> list[Row]:
    """Return the rows of what must go, on which the adapter acts.

    Raises:
        InvalidInputError: if there are none.
        UnsupportedError: if the adapter acts on the module that makes the scores.
    """
    if not forgotten.facts:
        raise InvalidInputError("there is nothing to forget: give a lesson with 1 or more facts")
    check_carried(adapter, base)
    # without the token that ends an answer: to make it unlikely would harm all answers
    rows = reached(fact_rows(forgotten, base, with_end=False), adapter)
    if not rows:
        raise InvalidInputError("the adapter acts on no question of what is to be forgotten: give facts of its lesson")
    return rows


def _parts(num: int) -> Iterator[slice]:
    """Yield slices of what is read together."""
    return (slice(first, first + ROWS_A_PASS) for first in range(0, num, ROWS_A_PASS))


def check_above_zero(**values: float) -> None:
    """Check that each parameter is a finite number above 0.

    Raises:
        ConfigError: for the first that is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}: give a number above 0")


def check_zero_or_more(**values: float) -> None:
    """Check that each parameter is a finite number, 0 or more.

    Raises:
        ConfigError: for the first that is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} is {value}: give 0 or more")
