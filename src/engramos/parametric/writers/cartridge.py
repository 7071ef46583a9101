"""Keys and values before every prompt, trained to hold what a text says: a KV cache that has learnt it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel, Prefix
from engramos.parametric.rows import device_of, padded, rows_of, told
from engramos.parametric.writers._lessons import text_of
from engramos.parametric.writers._taught import TaughtRow, divergences, taught
from engramos.parametric.writers._virtual import adam, stepped, stored
from engramos.parametric.writers.base import Writer

TYPICAL_EPOCHS = 20
FLOPS_A_CPU_S = 2e10


@dataclass(frozen=True, slots=True)
class Cartridge(Writer):
    """Distils a text into a short prefix of keys and values, which are trained directly.

    They begin as those of the text's first tokens; the first token, which attention rests on, stays as it is. The
    teacher is the base model with the text in its prompt; the student has the prefix in its place.

    Source: Cartridges, https://arxiv.org/abs/2506.06266, sections 3 and 4.
    Differs: the questions are the facts' own, or are made of the text's sentences without a model; where a fact's
    answer is known, it is taught, with the teacher's scores where they agree; keys and values of lower layers may stay
    as they began, so that what those layers make of a row is computed once.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts", "texts"})
    facts_a_shard: ClassVar[int] = 10

    num_tokens: int = 64
    """Tokens of the prefix, fewer where the text is shorter; 2 to 4,096."""
    depth: float = 0.5
    """Share of the layers whose keys and values stay as they began, in [0, 1)."""
    rate: float = 0.05
    """Adam's step, as a share of the root mean square of a layer's keys, or values; above 0, at most 10."""
    max_epochs: int = 40
    """Passes over all rows, at most; fewer once every answer is the student's likeliest."""
    rows_a_step: int = 16
    """Rows in a batch, at most."""
    top_k: int = 16
    """Tokens of the teacher's distribution that are learnt; 1 or more."""
    temperature: float = 1.0
    """Of the teacher; above 0, at most 10."""
    note_tokens: int = 400
    """Of the text that the teacher reads before one question; 16 or more."""
    answer_tokens: int = 32
    """Of an answer that only the teacher can give; 1 or more."""
    guards: float = 0.25
    """Rows that keep the model as it was, for each row that teaches; 0 or more."""
    is_teacher_trusted: bool = False
    """Whether the teacher's likeliest answers are learnt also where others are known."""
    is_checkpointed: bool = False
    """Compute activations anew in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        if not 2 <= self.num_tokens <= 4096:
            raise ConfigError(f"num_tokens is {self.num_tokens}: give 2 to 4,096")
        if not 0.0 <= self.depth < 1.0:
            raise ConfigError(f"depth is {self.depth}: give a share of the layers, from 0 to below 1")
        for name in ("rate", "temperature"):
            if not 0.0 < getattr(self, name) <= 10.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number above 0, at most 10")
        leasts = {"max_epochs": 1, "rows_a_step": 1, "top_k": 1, "note_tokens": 16, "answer_tokens": 1, "guards": 0}
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: give {least} or more")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost: see `Writer.estimate`."""
        num_text = len(base.tokens(text_of(lesson)))
        rows = rows_of(base, lesson.facts)
        read = sum(len(row.inputs) for row in rows) or 3 * num_text
        per_token = 12 * base.hidden_size**2 * base.num_layers
        trained = 4 * per_token * (1 - self.depth) * TYPICAL_EPOCHS * (1 + self.guards)
        cpu_s = (read * (trained + 4 * per_token) + 2 * per_token * num_text) / FLOPS_A_CPU_S
        num_bytes = min(self.num_tokens, num_text) * base.num_layers * base.hidden_size * 4
        return Cost(cpu_s, num_bytes, TYPICAL_EPOCHS * -(-max(1, len(rows)) // self.rows_a_step))

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the prefix that has learnt the lesson; see `Writer.write`."""
        text = text_of(lesson)
        if not text.strip():
            raise InvalidInputError("the writer cartridge has no texts or facts to learn from: give 1 or more")
        began = time.process_time()
        rows, known = taught(lesson, base, self, seed)
        first = int(self.depth * base.num_layers)
        trained = _Trained(base, base.prefix_of(base.tokens(text)[: self.num_tokens]), first)
        with torch.no_grad():
            states = [trained.lower(row) for row in rows]
        steps, report = self._train(trained, rows, states, seed, progress)
        adapter = stored(trained.prefix())
        return Written(adapter, Cost(time.process_time() - began, adapter.num_bytes, steps), known | report)

    def _train(
        self,
        trained: "_Trained",
        rows: Sequence[TaughtRow],
        states: Sequence[Tensor],
        seed: int,
        progress: Callable[[int], None],
    ) -> tuple[int, dict[str, float]]:
        """Train in place; return the steps, and what was measured in the last epoch."""
        optimizer, source = adam(trained.tensors, self.rate), torch.Generator().manual_seed(seed)
        steps, report = 0, {}
        for _ in range(self.max_epochs):
            losses, right, is_learnt = [], [], True
            for chosen in torch.randperm(len(rows), generator=source).split(self.rows_a_step):
                some = [rows[at] for at in chosen]
                loss, sure = trained.losses(some, [states[at] for at in chosen], self.is_checkpointed)
                own = [one for one, row in zip(sure, some, strict=True) if row.is_answer]
                losses.append(float(loss.detach()))
                right += own
                # texts are learnt to the end; guards alone need no step while nothing else takes one
                if not all(own) or (not own and not all(row.is_guard for row in some)):
                    is_learnt = False
                    stepped(optimizer, loss)
                    steps += 1
                    progress(steps)
            report = {"loss": sum(losses) / len(losses), "same_answers": sum(right) / max(1, len(right))}
            if is_learnt:
                break
        return steps, report


class _Trained:
    """A prefix of which some layers are trained, all tokens but the first."""

    def __init__(self, base: BaseModel, begun: Prefix, first: int) -> None:
        """Begin with these keys and values, and train the layers from `first` on."""
        self.base, self.first = base, first
        self._begun = begun
        self.tensors = {
            f"{name}.{layer}": part[layer][:, 1:].detach().float().clone().requires_grad_()
            for name, part in (("keys", begun.keys), ("values", begun.values))
            for layer in sorted(part)
            if layer >= first and begun.num_tokens > 1
        }

    def prefix(self) -> Prefix:
        """Return keys and values as they are now."""
        parts = []
        for name, begun in (("keys", self._begun.keys), ("values", self._begun.values)):
            own = {layer: self.tensors.get(f"{name}.{layer}") for layer in begun}
            parts.append(
                {
                    layer: one if own[layer] is None else torch.cat([one[:, :1], own[layer].to(one)], dim=1)
                    for layer, one in begun.items()
                }
            )
        return Prefix(parts[0], parts[1], self._begun.num_tokens)

    def lower(self, row: TaughtRow) -> Tensor:
        """Return what the first trained layer reads of a row: (tokens, hidden)."""
        ids = torch.tensor([row.row.inputs], device=device_of(self.base))
        return self.base.run(self.base.embedded(ids), 0, self.first, prefix=self._begun)[0]

    def losses(
        self, rows: Sequence[TaughtRow], states: Sequence[Tensor], is_checkpointed: bool
    ) -> tuple[Tensor, list[bool]]:
        """Return the mean divergence from what the rows teach, in nats, and whether each answer is the likeliest."""
        hidden = self.base.run(padded(states), self.first, prefix=self.prefix(), is_checkpointed=is_checkpointed)
        found, sure = divergences(rows, self.base.scores(told(hidden, [one.row for one in rows])))
        return found.mean(), sure
