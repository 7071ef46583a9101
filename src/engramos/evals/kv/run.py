"""The run: every sample is read once, and every row answers what is asked about it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engramos.errors import ConfigError
from engramos.evals.kv import measures, tasks
from engramos.evals.kv.reading import CODEC_QUERIES, Held, Reading
from engramos.evals.kv.rows import FULL, Row, Rows
from engramos.evals.kv.tasks import Sample
from engramos.evals.kv.texts import Texts
from engramos.evals.kv.witness import Witness

TIMED = 2
"""Samples of each length on which the time to the first token and of those after it is taken."""
MIN_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    lengths: tuple[int, ...]
    num_samples: int
    """Of each task and length; 1 or more."""
    seed: int
    tasks: tuple[str, ...]
    data: Path | None
    """The folder with evaluation data."""

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ConfigError(f"samples is {self.num_samples}: give 1 or more")
        if any(one < MIN_LENGTH for one in self.lengths) or not self.lengths:
            raise ConfigError(f"lengths are {self.lengths}: give numbers of tokens from {MIN_LENGTH} on")
        if unknown := [one for one in self.tasks if one not in tasks.TASKS]:
            raise ConfigError(f"there is no task {unknown[0]!r}: choose of {', '.join(tasks.TASKS)}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sample, and what came of it in each row."""

    sample: Sample
    metrics: Mapping[str, Mapping[str, float]]
    """By the row's name; a row may lack some."""


@dataclass(slots=True)
class Run:
    """What was measured."""

    outcomes: list[Outcome] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What was not measured, and why."""
    text: str = ""
    """Where text came from."""


def samples_of(engine: Any, asked: Asked, run: Run) -> list[Sample]:
    """Return the samples of all tasks and lengths; the run is told where text comes from, and what cannot be.

    Raises:
        ImportFailedError: if there is a folder with data, and what is needed is not in it.
        ConfigError: if nothing is left to measure.
    """
    texts, left_out = Texts.read(asked.data), run.left_out
    run.text = texts.source
    made: list[Sample] = []
    for length in asked.lengths:
        if length + tasks.ROOM > engine.max_tokens:
            left_out.append(f"length {length}: the model's window has {engine.max_tokens} tokens, questions included")
            continue
        for task in asked.tasks:
            made += _samples(engine, asked, texts, task, length, left_out)
    if not made:
        raise ConfigError(f"there is nothing to measure: {'; '.join(left_out) or 'no task is asked for'}")
    return made


def _samples(engine: Any, asked: Asked, texts: Texts, task: str, length: int, left_out: list[str]) -> Iterator[Sample]:
    if task == tasks.PASSKEY:
        return tasks.passkey_samples(engine, texts, length, asked.num_samples, asked.seed)
    if asked.data is None:
        left_out.append(f"ruler at {length}: there is no folder with data; give --data DIR, or set ENGRAMOS_DATA")
        return iter(())
    if not tasks.ruler_file(asked.data, length).is_file():
        left_out.append(f"ruler at {length}: there is no file {tasks.ruler_file(asked.data, length)}")
        return iter(())
    found = list(tasks.ruler_samples(engine, asked.data, length, asked.num_samples))
    fitting = [one for one in found if len(one.context) + tasks.ROOM <= engine.max_tokens]
    if len(fitting) < len(found):
        left_out.append(f"{len(found) - len(fitting)} tasks of ruler at {length}: longer than the model's window")
    return iter(fitting)


def measure(
    engine: Any, rows: Rows, samples: Sequence[Sample], progress: Callable[[int], None] = lambda num: None
) -> list[Outcome]:
    """Return what came of every sample in every row.

    Args:
        engine: that hosts the model.
        rows: the full cache first.
        samples: of any tasks.
        progress: told how many rows have been measured since it was told last.
    """
    has_codecs = any(row.codec is not None for row in rows.rows)
    witness = Witness(rows.policies, CODEC_QUERIES if has_codecs else 0)
    return [_outcome(engine, witness, rows.rows, sample, progress) for sample in samples]


def _outcome(
    engine: Any, witness: Witness, rows: Sequence[Row], sample: Sample, progress: Callable[[int], None]
) -> Outcome:
    read = Reading(engine, witness, sample.context)
    asked = None
    if sample.task == tasks.PASSKEY and any(row.policy is not None for row in rows):
        asked = read.asked(sample.questions[0].asked[:-1])
    reference = measures.Reference()
    found = {}
    for row in rows:
        held = read.held(row)
        one = _sizes(held)
        if sample.task == tasks.PASSKEY:
            is_timed = int(sample.name.rpartition("-")[2]) < TIMED
            one |= measures.passkey(engine, sample, held, row, reference, is_timed=is_timed)
            if asked is not None and row.policy is not None and row.codec is None:
                one |= measures.aware(engine, sample, asked, row)
            one |= measures.reading_on(engine, sample, held, row, reference)
        else:
            one |= measures.ruler(engine, sample, held, row, reference)
        if row.name == FULL:
            one |= {"prefill_cpu_ms": 1000 * read.plain_cpu_s}
        found[row.name] = one
        progress(1)
    return Outcome(sample, found)


def _sizes(held: Held) -> dict[str, float]:
    found = {"bytes": float(held.num_bytes), "compress_cpu_ms": 1000 * held.cpu_s}
    if held.stored_bytes is not None and held.bits is not None:
        found |= {"stored_bytes": float(held.stored_bytes), "bits": held.bits}
    return found


def metrics_of(outcomes: Sequence[Outcome], row: str) -> dict[str, float]:
    """Return the means of one row over the samples that have them: `passkey`, and by length `passkey@1024`.

    Perplexity is that of all tokens together: the exponential of the mean loss.
    """
    found: dict[str, float] = {}
    lengths = sorted({one.sample.length for one in outcomes})
    groups: list[tuple[str, int | None]] = [("", None)]
    if len(lengths) > 1:
        groups += [(f"@{length}", length) for length in lengths]
    for suffix, length in groups:
        own = [one.metrics[row] for one in outcomes if row in one.metrics and length in (None, one.sample.length)]
        for name in dict.fromkeys(name for one in own for name in one):
            values = [one[name] for one in own if name in one]
            mean = math.fsum(values) / len(values)
            if name == "nll":
                found[f"ppl{suffix}"] = math.exp(mean)
            else:
                found[f"{name}{suffix}"] = mean
    return found
