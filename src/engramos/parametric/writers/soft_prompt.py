"""Virtual tokens before every prompt whose embeddings are trained to make the model know facts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.errors import ConfigError
from engramos.parametric.facts import without_duplicates
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Batch, Row, answered, batches_of, device_of, question, rows_of
from engramos.parametric.writers._lessons import check_facts, text_of
from engramos.parametric.writers._taught import ABSTENTION
from engramos.parametric.writers._virtual import adam, read_as_prefix, stepped, stored
from engramos.parametric.writers.base import Writer

TYPICAL_EPOCHS = 40
FLOPS_A_CPU_S = 2e10


@dataclass(frozen=True, slots=True)
class SoftPrompt(Writer):
    """Trains embeddings of virtual tokens, through all layers, on the facts' answers alone.

    They begin as the embeddings of the facts' own words. Everyday questions of the lesson are trained with the base
    model's own answers, and unknown ones with an abstention, so that the prompt does not answer everything with what it
    has learnt. The finished prompt is stored as the keys and values that the base model makes of it.

    Source: The Power of Scale for Parameter-Efficient Prompt Tuning, https://arxiv.org/abs/2104.08691, section 2.
    Differs: Adam in place of Adafactor; stored as keys and values, so that reading it costs nothing later.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts"})
    facts_a_shard: ClassVar[int] = 10

    num_tokens: int = 20
    """Virtual tokens, 1 to 256."""
    rate: float = 0.1
    """Adam's step, as a share of the embeddings' root mean square; above 0, at most 10."""
    stop: float = 0.5
    """Training ends when every answer token of the facts is more probable than this; in (0, 1)."""
    max_epochs: int = 80
    """Passes over all rows, at most."""
    rows_a_step: int = 32
    """Questions in a batch, at most."""
    most_guards: int = 8
    """Everyday and unknown questions that are trained along, at most; 0 or more."""
    is_checkpointed: bool = False
    """Compute activations anew in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_tokens <= 256:
            raise ConfigError(f"num_tokens is {self.num_tokens}: give 1 to 256")
        if not 0.0 < self.rate <= 10.0:
            raise ConfigError(f"rate is {self.rate}: give a number above 0, at most 10")
        if not 0.0 < self.stop < 1.0:
            raise ConfigError(f"stop is {self.stop}: give a probability between 0 and 1")
        for name, least in (("max_epochs", 1), ("rows_a_step", 1), ("most_guards", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: give {least} or more")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost: see `Writer.estimate`."""
        rows = rows_of(base, lesson.facts)
        num_tokens = sum(len(row.inputs) + self.num_tokens for row in rows)
        # the backward pass reaches the embeddings, but no weight needs a gradient: four times the forward pass's work
        work = 4 * 12 * base.hidden_size**2 * base.num_layers * num_tokens * TYPICAL_EPOCHS
        num_bytes = base.num_layers * self.num_tokens * base.hidden_size * 4
        return Cost(work / FLOPS_A_CPU_S, num_bytes, TYPICAL_EPOCHS * -(-len(rows) // self.rows_a_step))

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the prompt that knows the lesson's facts; see `Writer.write`."""
        check_facts(lesson, "soft_prompt")
        began = time.process_time()
        facts = without_duplicates(lesson.facts)
        rows = rows_of(base, facts) + _guards(lesson, base, self.most_guards)
        batches = batches_of(rows, self.rows_a_step, device_of(base), (), seed)
        virtual = _opening(base, text_of(lesson), self.num_tokens)
        steps, report = self._trained(base, virtual, batches, progress)
        adapter = stored(read_as_prefix(base, virtual.detach()))
        return Written(adapter, Cost(time.process_time() - began, adapter.num_bytes, steps), report)

    def _trained(
        self, base: BaseModel, virtual: Tensor, batches: Sequence[Batch], progress: Callable[[int], None]
    ) -> tuple[int, dict[str, float]]:
        """Train the virtual tokens in place; return the steps, and what was measured in the last epoch."""
        optimizer, steps, report = adam({"virtual": virtual}, self.rate), 0, {}
        for _ in range(self.max_epochs):
            losses, least = [], []
            for batch in batches:
                found = self._losses(base, virtual, batch)
                losses.append(float(found.detach().mean()))
                least.append(_least(found.detach(), batch))
                # NaN is not above anything, and is refused where a step is taken
                if not least[-1] > self.stop:
                    stepped(optimizer, found.mean())
                    steps += 1
                    progress(steps)
            report = {"loss": sum(losses) / len(losses), "least_probability": min(least)}
            if min(least) > self.stop:
                break
        return steps, report

    def _losses(self, base: BaseModel, virtual: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each answer token: (answer tokens,)."""
        own = base.embedded(batch.ids)
        hidden = torch.cat([virtual.to(own)[None].expand(own.shape[0], -1, -1), own], dim=1)
        hidden = base.run(hidden, is_checkpointed=self.is_checkpointed)
        rows, places = batch.places
        scores = base.scores(hidden[rows, places + virtual.shape[0]]).float()
        return torch.nn.functional.cross_entropy(scores, batch.wanted, reduction="none")


def _least(losses: Tensor, batch: Batch) -> float:
    """Return the smallest probability of a token of the facts' answers; 1 where the batch asks of no fact."""
    is_fact = torch.tensor([bool(batch.rows[row].fact_id) for row in batch.places[0].tolist()], device=losses.device)
    return float(torch.exp(-losses[is_fact].max())) if bool(is_fact.any()) else 1.0


def _opening(base: BaseModel, text: str, num_tokens: int) -> Tensor:
    """Return embeddings of a text's first tokens, again from its beginning where it is short."""
    ids = base.tokens(text)
    repeated = (ids * -(-num_tokens // len(ids)))[:num_tokens]
    return base.embedded(torch.tensor([repeated], device=device_of(base)))[0].detach().float().clone().requires_grad_()


def _guards(lesson: Lesson, base: BaseModel, most: int) -> list[Row]:
    """Return everyday questions with the model's own answers and unknown ones with an abstention, in turns."""
    half = most // 2 if lesson.unknown else 0
    unknown = [answered(base, text, ABSTENTION) for text in lesson.unknown[:half]]
    prompts = [question(base, text) for text in lesson.common[: most - len(unknown)]]
    answers = base.generate(prompts, max_tokens=16) if prompts else []
    common = [Row(prompt, tuple(answer)) for prompt, answer in zip(prompts, answers, strict=True) if answer]
    return unknown + common
