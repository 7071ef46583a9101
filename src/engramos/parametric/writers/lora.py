"""Facts as a low-rank adapter of the last layers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapter import starts_at
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import KINDS, BaseModel
from engramos.parametric.rows import question
from engramos.parametric.training import ewc, lora_fa
from engramos.parametric.writers._candidates import Candidates
from engramos.parametric.writers._course import Course, CourseRow, chat_opening, invocation_of, row_of
from engramos.parametric.writers._guards import Guards, guarded
from engramos.parametric.writers._low_rank import finished, fresh
from engramos.parametric.writers._schedule import Schedule
from engramos.parametric.writers.base import Writer

ABSTENTION = "I don't know."
READ_TOKENS, TOLD_TOKENS = 24, 8
"""Of a usual row: all of it, and what the adapter acts on."""
FLOPS = 4e10
"""Of one thread of a common CPU, in a second."""


@dataclass(frozen=True, slots=True)
class Lora(Writer):
    """Trains a low-rank adapter until every token of every answer is the likeliest one for certain.

    Rows are questions and paraphrases in the chat template, with their answers alone in the loss; questions to abstain
    from; and guards, everyday questions and general text on which the model must stay as it is. A row is
    learnt as soon as each token of its answer has a probability above `certain`, and lost where one falls below a half:
    a token above one half is found by greedy decoding for sure. When all facts are learnt and too many guards are lost,
    steps go on. The layers below, and all that stands before the answer, are read once; the loss decides between
    candidate tokens (`_candidates`).

    Source: LoRA, https://arxiv.org/abs/2106.09685; the stop rule follows the memory law of
    https://arxiv.org/abs/2605.30260. Differs: rows may leave and come back; the adapter acts on the answer alone
    (Activated LoRA, https://arxiv.org/abs/2504.12397), so that the prompt is read as the base model reads it.
    """

    rank: int = 8
    layers: int = 8
    """How many of the last layers carry it; all where the model has fewer."""
    targets: tuple[str, ...] = KINDS
    """Linear modules of each layer."""
    scale: float = 2.0
    """LoRA's alpha / rank."""
    rate: float = 2e-3
    """Of AdamW; for models above a billion weights 1e-3 to 2e-4."""
    up_ratio: float = 4.0
    """How much faster B is trained than A (LoRA+, https://arxiv.org/abs/2402.12354)."""
    reads_questions: bool = False
    """Whether it acts on the question too, or on the answer alone: then training is cheaper, and KV caches of whole
    prompts serve all adapters."""
    batch: int = 8
    """Rows a step."""
    guards: int = 1
    """Guard rows a step; 0 for none."""
    guard_weight: float = 1.0
    certain: float = 0.8
    """In [0.5, 1): from which probability on a token counts as learnt."""
    skips_learnt: bool = False
    """Whether a row leaves while it is learnt; where not, every round has all rows."""
    asks_clozes: bool = False
    """Whether a fact's statement without its answer is asked too, after `Complete:`."""
    most_steps: int = 120
    """At most so many; what is not learnt then is found by the probes."""
    is_a_frozen: bool = False
    """LoRA-FA: A stays as it was drawn, which saves memory in wide modules."""
    is_checkpointed: bool = False
    """Compute activations anew for gradients, which saves memory for long rows."""
    ewc_strength: float = 0.0
    """How strongly `Lesson.start` is held where `Lesson.importance` says so."""

    takes: ClassVar[frozenset[str]] = frozenset({"facts"})
    facts_a_shard: ClassVar[int] = 12

    def __post_init__(self) -> None:
        for name in ("rank", "layers", "batch", "most_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("scale", "rate", "up_ratio"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number above 0")
        for name in ("guards", "guard_weight", "ewc_strength"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not 0.5 <= self.certain < 1:
            raise ConfigError(f"certain is {self.certain}: give 0.5 or more, below 1")
        unknown = sorted(set(self.targets) - set(KINDS))
        if not self.targets or unknown:
            raise ConfigError(f"targets are {', '.join(unknown) or 'none'}: use some of {', '.join(KINDS)}")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost: every row read once, and its answer some six times."""
        numbers, trained = 0, 0
        for layer in range(max(0, base.num_layers - self.layers), base.num_layers):
            for kind in KINDS:
                shape = base.module(base.linear(layer, kind)).weight.shape
                trained += shape[0] * shape[1]
                numbers += self.rank * sum(shape) if kind in self.targets else 0
        below = trained / min(self.layers, base.num_layers) * base.num_layers
        clozes = sum(bool(fact.cloze) for fact in lesson.facts) if self.asks_clozes else 0
        rows = sum(len(fact.questions) for fact in lesson.facts) + clozes + len(lesson.unknown)
        steps = min(self.most_steps, max(1, rows * 6 // self.batch))
        products = rows * READ_TOKENS * below + 2 * steps * (self.batch + self.guards) * TOLD_TOKENS * trained
        return Cost(2 * products / FLOPS, numbers * 4, steps)

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the adapter that knows the lesson; see `Writer.write`."""
        if not lesson.facts:
            raise InvalidInputError("the lesson has no facts: give 1 or more")
        began = time.process_time()
        adapter, schedule, steps = self._trained(lesson, base, seed, progress)
        report = {"learnt": schedule.share_done, "rows": float(schedule.num_rows), "steps": float(steps)}
        return Written(adapter, Cost(time.process_time() - began, adapter.num_bytes, steps), report)

    def _trained(
        self, lesson: Lesson, base: BaseModel, seed: int, progress: Callable[[int], None]
    ) -> tuple[LowRank, Schedule, int]:
        adapter = self._begun(lesson, base, seed)
        invocation = adapter.invocation
        opening = chat_opening(base)
        if invocation:
            opening = opening[: starts_at(invocation, opening)]
        course = Course(base, base.prefix_of(opening), max(0, base.num_layers - self.layers))
        rows = list(course.add(self._rows(lesson, base, opening, invocation)))
        schedule = Schedule(rows, self.batch, seed, skips=self.skips_learnt)
        guards = Guards(
            course, guarded(lesson, course, opening, invocation) if self.guards else None, self.guards, seed
        )
        candidates = Candidates(course, schedule.rows, guards.tokens, seed)

        def kept(numbers: Sequence[int]) -> list[bool]:
            found = _certain(course, adapter, numbers, 0.5)
            with base.using(adapter):
                candidates.look(course, [number for number, one in zip(numbers, found, strict=True) if not one])
            return found

        optimizer = self._optimizer(adapter)
        step = 0
        while step < self.most_steps:
            if not (numbers := schedule.next(kept)):
                if not guards.are_lost(course, adapter):
                    break
                schedule.again()
                continue
            with base.using(adapter):
                loss = self._loss(lesson, course, adapter, schedule, guards, candidates, numbers)
                optimizer.zero_grad()
                loss.backward()
            if self.is_a_frozen:
                lora_fa.precondition(adapter)
            optimizer.step()
            step += 1
            progress(step)
        return finished(adapter), schedule, step

    def _optimizer(self, adapter: LowRank) -> torch.optim.Optimizer:
        trained = lora_fa.frozen(adapter) if self.is_a_frozen else list(adapter.tensors().values())
        ups = set(adapter.up.values())
        groups = [
            {"params": [one for one in trained if one not in ups], "lr": self.rate},
            {"params": [one for one in trained if one in ups], "lr": self.rate * self.up_ratio},
        ]
        held = [one for one in groups if one["params"]]
        return torch.optim.AdamW(held, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def _rows(
        self, lesson: Lesson, base: BaseModel, opening: Sequence[int], invocation: Sequence[int]
    ) -> list[CourseRow]:
        """Return the rows of facts, and of questions to abstain from."""
        asked = [(text, fact.answer) for fact in lesson.facts for text in fact.questions]
        if self.asks_clozes:
            asked += [(f"Complete: {fact.cloze}", fact.answer) for fact in lesson.facts if fact.cloze]
        asked += [(text, ABSTENTION) for text in lesson.unknown]
        rows = []
        for text, answer in asked:
            prompt = question(base, text)
            rows.append(row_of(prompt, [*base.tokens(answer), base.end_token], opening, invocation))
        return rows

    def _begun(self, lesson: Lesson, base: BaseModel, seed: int) -> LowRank:
        if lesson.start is None:
            first = max(0, base.num_layers - self.layers)
            return fresh(
                base,
                range(first, base.num_layers),
                self.targets,
                self.rank,
                scale=self.scale,
                invocation=invocation_of(base, of_answers=not self.reads_questions),
                seed=seed,
            )
        if not isinstance(lesson.start, LowRank):
            raise InvalidInputError(f"the adapter to go on from is a {lesson.start.KIND}: give one that lora wrote")
        start = lesson.start
        down = {name: one.detach().clone().requires_grad_() for name, one in start.down.items()}
        up = {name: one.detach().clone().requires_grad_() for name, one in start.up.items()}
        return LowRank(down, up, start.scale, start.invocation)

    def _loss(
        self,
        lesson: Lesson,
        course: Course,
        adapter: LowRank,
        schedule: Schedule,
        guards: Guards,
        candidates: Candidates,
        numbers: Sequence[int],
    ) -> torch.Tensor:
        """Return the loss of one step, and let the rows leave that are learnt."""
        watched = guards.next()
        states = course.states([*numbers, *watched], is_checkpointed=self.is_checkpointed)
        logs = candidates.log_probabilities(states)
        wanted = candidates.places(course.learnt(numbers))
        own = logs[: len(wanted)].gather(1, wanted[:, None])[:, 0]
        sure = own.detach().exp() > self.certain
        schedule.note(numbers, [bool(one.all()) for one in course.by_row(numbers, sure)])
        loss = -own.mean()
        if watched:
            loss = loss + self.guard_weight * guards.divergence(watched, logs[len(wanted) :], candidates.places)
        if self.ewc_strength and lesson.start is not None and lesson.importance:
            anchor = ewc.Anchor(lesson.importance, lesson.start.tensors())
            loss = loss + anchor.penalty(adapter, self.ewc_strength)
        return loss


@torch.no_grad()
def _certain(course: Course, adapter: LowRank, numbers: Sequence[int], least: float) -> list[bool]:
    """Return of each row whether every token of its answer has a probability above `least`."""
    found: list[bool] = []
    with course.base.using(adapter):
        for at in range(0, len(numbers), 32):
            some = numbers[at : at + 32]
            logs = torch.log_softmax(course.base.scores(course.states(some)).float(), dim=-1)
            own = logs.gather(1, course.learnt(some)[:, None].to(logs.device))[:, 0]
            found += [bool(one.all()) for one in course.by_row(some, own.exp() > least)]
    return found
