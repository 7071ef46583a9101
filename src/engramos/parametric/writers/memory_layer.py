"""Facts in the slots of a product-key memory, trained sparsely beside two late feed-forward modules."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.product_keys import ProductKeys
from engramos.parametric.facts import without_duplicates
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Batch, Row, batches_of, device_of, opening_of_a_turn, question, rows_of
from engramos.parametric.writers._lessons import check_facts
from engramos.parametric.writers._sparse_memory import SparseTraining, divergence, surveyed, tf_idf
from engramos.parametric.writers.base import Writer

BACKGROUND_TOKENS = 256
"""At most so many of each text that must stay as it is."""
SCORES = {"tf_idf": tf_idf, "kl": divergence}
ANSWER_TOKENS = 12
"""Of the model's own answer to each everyday question."""
_TYPICAL_STEPS = 30
_FLOPS_A_CPU_S = 2e10


@dataclass(frozen=True, slots=True)
class MemoryLayer(Writer):
    """Trains only the slots that the lesson's facts read more than background text does.

    Beside the feed-forward modules of a few late layers stands a table of zeros. In each step the slots that the
    batch reads are scored against how often background text reads them, and the best alone are changed, by Adam.
    What is never trained reads zeros and stays as it is, bit for bit. Background text is the lesson's `retained`,
    `common` and `unknown`; without any of it, slots of the template's own tokens are trained too.

    Source: Continual Learning via Sparse Memory Finetuning, https://arxiv.org/abs/2510.15103; the score `kl` is ours.
    Differs: the memory is new and empty rather than pretrained, its keys are random and fixed, and rows whose answers
    are learnt are not trained further.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts"})
    facts_a_shard: ClassVar[int] = 50

    depths: tuple[float, ...] = (0.8, 0.9)
    """Where the memories stand: shares of the layers that lie below, in [0, 1)."""
    num_keys: int = 128
    """Half keys; their square is the number of slots of a layer; 2 to 1,024."""
    num_reads: int = 16
    """Slots that a token reads; 1 to `num_keys`."""
    most_slots: int = 1_000
    """Slots of a layer that one step changes, at most."""
    score: str = "tf_idf"
    """By what slots are chosen: `tf_idf`, or `kl` (the share in the batch times the log of how much it is higher)."""
    rate: float = 0.2
    """Adam's step, as a share of the root mean square of what the module gives; above 0."""
    stop: float = 0.5
    """Training ends when every answer token is more probable than this; in (0, 1)."""
    max_epochs: int = 100
    """Passes over all rows, at most."""
    rows_a_step: int = 32
    """Questions in a batch, at most."""
    keeps_context: bool = True
    """Act from the opening of the last user's turn on, so that KV caches of what stands before stay right."""

    def __post_init__(self) -> None:
        if not self.depths or not all(0.0 <= depth < 1.0 for depth in self.depths):
            raise ConfigError(f"depths is {self.depths}: give shares of the layers, from 0 to below 1")
        if not 2 <= self.num_keys <= 1024 or not 1 <= self.num_reads <= self.num_keys:
            sizes = f"num_keys is {self.num_keys} and num_reads {self.num_reads}"
            raise ConfigError(f"{sizes}: give 2 to 1,024 keys, and 1 read or more, at most as many")
        if self.score not in SCORES:
            raise ConfigError(f"score is {self.score!r}: give one of {', '.join(SCORES)}")
        if not 0.0 < self.rate < float("inf"):
            raise ConfigError(f"rate is {self.rate}: give a number above 0")
        if not 0.0 < self.stop < 1.0:
            raise ConfigError(f"stop is {self.stop}: give a probability between 0 and 1")
        for name in ("most_slots", "max_epochs", "rows_a_step"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return what `write` is expected to cost: see `Writer.estimate`."""
        rows = rows_of(base, lesson.facts)
        num_tokens = sum(len(row.inputs) for row in rows)
        layers = self._layers(base)
        weights = 12 * base.hidden_size**2
        trained = 6 * weights * (base.num_layers - layers[0]) * _TYPICAL_STEPS * 0.6
        cpu_s = num_tokens * (trained + 2 * weights * layers[0]) / _FLOPS_A_CPU_S
        num_slots = min(self.num_keys**2, num_tokens * self.num_reads // 3)
        return Cost(cpu_s, num_slots * len(layers) * 4 * base.hidden_size, _TYPICAL_STEPS)

    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the memory that knows the lesson's facts; see `Writer.write`."""
        check_facts(lesson, "memory_layer")
        began = time.process_time()
        facts = without_duplicates(lesson.facts)
        invocation = opening_of_a_turn(base) if self.keeps_context else ()
        rows, device = rows_of(base, facts), device_of(base)
        batches = batches_of(rows, self.rows_a_step, device, invocation, seed)
        training = self._training(base, lesson, batches, seed)
        report = self._trained(training, batches, progress)
        adapter = replace(training.finished(), invocation=invocation)
        num_slots = sum(one.numel() for one in adapter.slots.values())
        cost = Cost(time.process_time() - began, adapter.num_bytes, training.steps)
        return Written(adapter, cost, report | {"slots": float(num_slots)})

    def _layers(self, base: BaseModel) -> list[int]:
        return sorted({int(depth * base.num_layers) for depth in self.depths})

    def _training(self, base: BaseModel, lesson: Lesson, batches: list[Batch], seed: int) -> SparseTraining:
        invocation = opening_of_a_turn(base) if self.keeps_context else ()
        layers = self._layers(base)
        targets = [_feed_forward(base, layer) for layer in layers]
        facts = tuple(dict.fromkeys(fact.id for fact in without_duplicates(lesson.facts)))
        texts = _background(base, lesson)
        background = batches_of(texts, self.rows_a_step, device_of(base), invocation, seed) if texts else []

        def empty(means: Mapping[str, Tensor], deviations: Mapping[str, Tensor]) -> ProductKeys:
            return _empty(means, deviations, facts, self.num_keys, self.num_reads, seed)

        survey = surveyed(base, empty, targets, layers[0], batches, background)
        return SparseTraining(base, survey, layers[0], self.rate, SCORES[self.score], self.most_slots)

    def _trained(
        self, training: SparseTraining, batches: list[Batch], progress: Callable[[int], None]
    ) -> dict[str, float]:
        report = {"loss": 0.0, "least_probability": 0.0, "epochs": 0.0}
        for epoch in range(1, self.max_epochs + 1):
            passed = []
            for number, batch in enumerate(batches):
                passed.append(training.passed(number, batch, self.stop))
                progress(training.steps)
            losses, least = zip(*passed, strict=True)
            report = {"loss": sum(losses) / len(losses), "least_probability": min(least), "epochs": float(epoch)}
            if min(least) > self.stop:
                break
        return report


def _feed_forward(base: BaseModel, layer: int) -> str:
    name = f"{base.layer_name(layer)}.mlp"
    try:
        base.module(name)
    except InvalidInputError as error:
        raise UnsupportedError(
            f"layer {layer} of the base model has no module {name!r} for a memory to stand beside: use another writer"
        ) from error
    return name


def _background(base: BaseModel, lesson: Lesson) -> list[Row]:
    """Return what must stay as it is as user's turns, everyday questions with the model's own first answer tokens."""
    texts = [Row(question(base, text)[:BACKGROUND_TOKENS]) for text in lesson.retained]
    asked = [question(base, text) for text in (*lesson.common, *lesson.unknown)]
    answers = base.generate(asked, max_tokens=ANSWER_TOKENS) if asked else []
    return texts + [Row((*prompt, *answer)) for prompt, answer in zip(asked, answers, strict=True)]


def _empty(
    means: Mapping[str, Tensor],
    deviations: Mapping[str, Tensor],
    facts: tuple[str, ...],
    num_keys: int,
    num_reads: int,
    seed: int,
) -> ProductKeys:
    """Return a memory with every slot, all zeros, beside modules that give as many features as they read."""
    num_slots = num_keys**2
    slots = {target: torch.arange(num_slots, device=one.device) for target, one in means.items()}
    values = {target: torch.zeros(num_slots, one.shape[0], device=one.device) for target, one in means.items()}
    owners = {
        target: torch.zeros(num_slots, len(facts), dtype=torch.bool, device=one.device) for target, one in means.items()
    }
    return ProductKeys(slots, values, means, deviations, owners, facts, num_keys, num_reads, seed)
