"""Context distillation: the model with the notes in its prompt teaches the model without them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import KINDS, BaseModel
from engramos.parametric.rows import padded, question, told
from engramos.parametric.writers._low_rank import finished, fresh
from engramos.parametric.writers._note_questions import questions_of
from engramos.parametric.writers._taught import TaughtRow, divergences, taught
from engramos.parametric.writers.base import Writer

FLOPS_A_SECOND = 3e10
"""Of one thread of a common CPU in float32."""
LAST_RATE = 0.1
"""Of the learning rate, in the last epoch."""


@dataclass(frozen=True, slots=True)
class Distill(Writer):
    """A student without the notes learns what a teacher with the notes says.

    Teacher and student are the base model; the student has a fresh low-rank adapter on its top layers. Where a text is
    all there is, questions are made of its sentences and names, and the text itself is read once more. What the top
    layers read is computed once, and scores are made at answers alone. The report says how many answers are the same
    with the notes removed (`same_answers`, before training `same_answers_before`), the prompt tokens that each question
    then saves, and how often the teacher was right where the answer is known.

    Source: context distillation, https://arxiv.org/abs/2209.15189, section 3; the teacher's 16 likeliest tokens alone
    are kept as in the baseline of Doc-to-LoRA.
    Differs: answers are a fact's own, or the notes' own words, unless the teacher is trusted; where it finds another
    token likelier, the known token alone is learnt. The shares of the kept tokens are made to sum to 1; training stops
    when every answer is learnt.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts", "texts"})
    facts_a_shard: ClassVar[int] = 12
    layers: int = 6
    """Top layers that the adapter acts in; 1 or more, all where the model has fewer."""
    kinds: tuple[str, ...] = KINDS
    """Linear modules of each layer."""
    rank: int = 8
    """Of each update; 1 or more."""
    learning_rate: float = 4e-3
    """Of Adam, falling evenly to a tenth; 4e-3 suits 135 million weights, 2e-4 some billions. Over 0."""
    epochs: int = 40
    """At most; 1 or more."""
    batch: int = 12
    """Rows a step; 1 or more."""
    top_k: int = 16
    """The teacher's likeliest tokens that are kept at each position; 1 or more."""
    temperature: float = 1.0
    """Of the teacher's scores; over 0."""
    note_tokens: int = 512
    """Of the notes that the teacher reads before one question; longer notes are cut between sentences. 16 or more."""
    is_teacher_trusted: bool = False
    """Whether its own likeliest answers are learnt; otherwise the known ones are, with its scores where it agrees.

    Models of some 100 million weights misread notes: trusted, they teach what they have made up.
    """
    answer_tokens: int = 32
    """Of a trusted teacher's answer; 1 or more."""
    guards: float = 0.5
    """Rows that keep the model as it was, for each row that teaches; 0 or more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        for name, least in {
            "layers": 1, "rank": 1, "epochs": 1, "batch": 1, "top_k": 1, "note_tokens": 16, "answer_tokens": 1
        }.items():  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: give {least} or more")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number over 0")
        if not 0 <= self.guards < float("inf"):
            raise ConfigError(f"guards is {self.guards}: give 0 or more")
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ConfigError(f"kinds are {self.kinds}: choose 1 or more of: {', '.join(KINDS)}")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return the cost of all epochs, and of the teacher's reading, from what is multiplied."""
        asked = questions_of(lesson, self.note_tokens, lambda text: len(base.tokens(text)))
        layers = self._layers(base)
        shapes = [base.module(base.linear(layer, kind)).weight.shape for layer in layers for kind in self.kinds]
        num_bytes = sum(4 * self.rank * (rows + columns) for rows, columns in shapes)
        top = sum(base.module(base.linear(layer, kind)).weight.numel() for layer in layers for kind in KINDS)
        of_text = 0 if lesson.facts else sum(len(base.tokens(text)) for text in lesson.texts)
        overhead = len(question(base, ""))
        answers = sum(len(base.tokens(one.answer)) + 1 for one in asked)
        read = sum(len(base.tokens(one.question)) + overhead for one in asked) + answers + of_text
        notes = sum(len(base.tokens(one.notes)) for one in asked if self.is_teacher_trusted)
        heads = base.vocabulary * base.hidden_size
        every = top / len(layers) * base.num_layers
        a_pass = 2 * (read * every + (answers + of_text) * heads)
        an_epoch = (1 + self.guards) * 6 * (read * top + (answers + of_text) * heads)
        cpu_s = (self.epochs * an_epoch + 3 * a_pass + 2 * notes * every) / FLOPS_A_SECOND
        steps = self.epochs * -(-int(len(asked) * (1 + self.guards)) // self.batch)
        return Cost(cpu_s, num_bytes, steps)

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the student's adapter; see `Writer.write`."""
        if not lesson.facts and not any(text.strip() for text in lesson.texts):
            raise InvalidInputError("there is nothing to distil: give facts or texts")
        began = time.process_time()
        rows, known = taught(lesson, base, self, seed)
        layers = self._layers(base)
        with torch.no_grad():
            states = [_frozen(base, row, layers[0]) for row in rows]
        adapter = fresh(base, layers, self.kinds, self.rank, seed=seed)
        before = _measured(base, adapter, rows, states, layers[0])
        steps = self._train(base, adapter, rows, states, seed, progress)
        done = finished(adapter)
        after = _measured(base, done, rows, states, layers[0])
        report = known | after | {f"{name}_before": value for name, value in before.items()}
        return Written(done, Cost(time.process_time() - began, done.num_bytes, steps), report)

    def _layers(self, base: BaseModel) -> list[int]:
        return list(range(max(0, base.num_layers - self.layers), base.num_layers))

    def _train(
        self,
        base: BaseModel,
        adapter: LowRank,
        rows: Sequence[TaughtRow],
        states: Sequence[Tensor],
        seed: int,
        progress: Callable[[int], None],
    ) -> int:
        """Train the adapter in place; return the steps done."""
        optimizer = torch.optim.Adam(adapter.tensors().values(), lr=self.learning_rate)
        source, first, step = torch.Generator().manual_seed(seed), self._layers(base)[0], 0
        for epoch in range(self.epochs):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - (1 - LAST_RATE) * epoch / max(1, self.epochs - 1))
            is_learnt = True
            for chosen in torch.randperm(len(rows), generator=source).split(self.batch):
                some = [rows[at] for at in chosen]
                with torch.enable_grad():
                    losses, sure = _losses(base, adapter, some, [states[at] for at in chosen], first)
                    loss = losses.mean()
                    optimizer.zero_grad()
                    loss.backward()
                if not bool(torch.isfinite(loss)):
                    raise ModelError(f"the loss of step {step + 1} is not finite: use a lower learning rate")
                optimizer.step()
                step += 1
                progress(step)
                is_learnt = is_learnt and all(one for one, row in zip(sure, some, strict=True) if row.is_answer)
            if is_learnt:
                break
        return step


def _frozen(base: BaseModel, row: TaughtRow, first: int) -> Tensor:
    """Return what the first adapted layer reads of a row: (tokens, hidden)."""
    return base.run(base.embedded(torch.tensor([row.row.inputs])), 0, first)[0]


def _losses(
    base: BaseModel, adapter: LowRank, rows: Sequence[TaughtRow], states: Sequence[Tensor], first: int
) -> tuple[Tensor, list[bool]]:
    """Return what `divergences` does, for the student with its adapter."""
    with base.using(adapter):
        hidden = base.run(padded(states), first)
        return divergences(rows, base.scores(told(hidden, [one.row for one in rows])))


@torch.no_grad()
def _measured(
    base: BaseModel, adapter: LowRank, rows: Sequence[TaughtRow], states: Sequence[Tensor], first: int
) -> dict[str, float]:
    """Return the share of questions answered as taught, and the mean KL over what is taught, in nats."""
    asked: list[bool] = []
    losses: list[float] = []
    for at in _groups(len(rows), 8):
        found, sure = _losses(base, adapter, rows[at], states[at], first)
        asked += [one for one, row in zip(sure, rows[at], strict=True) if row.is_answer]
        losses += [loss for loss, row in zip(found.tolist(), rows[at], strict=True) if not row.is_guard]
    same = {"same_answers": sum(asked) / len(asked)} if asked else {}
    return same | {"kl": sum(losses) / len(losses)}


def _groups(num: int, size: int) -> Iterator[slice]:
    return (slice(at, at + size) for at in range(0, num, size))
