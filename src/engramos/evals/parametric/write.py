"""Writing measured: facts go through a real memory into weights, are asked for, and some are forgotten."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engramos.cube import State
from engramos.errors import ConfigError
from engramos.evals.kv.stopwatch import stopwatch
from engramos.evals.parametric.facts_file import store
from engramos.evals.parametric.unrelated import Unrelated, drift
from engramos.evals.run import open_memory
from engramos.memory import MemoryOS
from engramos.parametric.facts import Fact
from engramos.parametric.probes._asking import generated, normalised, prompt_of, room, says
from engramos.parametric.retention import average_accuracy, backward_transfer
from engramos.parametric_memory import ParametricMemory
from engramos.verbs.parametric._cube import payload_of
from engramos.verbs.parametric._lessons import prepared
from engramos.verbs.parametric.answer import Answer, route
from engramos.verbs.parametric.learn import Learned

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers

ROWS = 32
"""Questions that are answered in one batch."""
EXTRA_TOKENS = 8
"""How much longer than the longest taught answer a reply to what no fact answers is read."""
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is written, and what is asked then.

    Raises:
        ConfigError: if a number does not fit.
    """

    facts: tuple[Fact, ...]
    unrelated: Unrelated
    unseen_subjects: tuple[str, ...] = ()
    """Questions about subjects that have no facts."""
    unseen_relations: tuple[str, ...] = ()
    """Questions about the facts' subjects that no fact answers."""
    num_forgotten: int = 10
    """Facts that are forgotten at the end, those of whole subjects first; 0 for none."""
    rounds: int = 1
    """In how many writes, one after the other, the subjects come; 1 for all at once."""
    seed: int = 0
    embedder: str = "bge_small"
    """By which a router compares questions; `none` for names alone."""
    ways: Mapping[str, Any] = field(default_factory=dict)
    """What else a parametric memory is opened with: `router`, `profile`, `limits`, `scan`."""

    def __post_init__(self) -> None:
        if self.num_forgotten < 0 or self.num_forgotten >= len(self.facts):
            raise ConfigError(f"forget is {self.num_forgotten}: give 0 to {len(self.facts) - 1}, so that a fact stays")
        if not 1 <= self.rounds <= len(self.subjects):
            raise ConfigError(f"sequential is {self.rounds}: give 1 to {len(self.subjects)}, the number of subjects")

    @property
    def subjects(self) -> tuple[str, ...]:
        """Each subject once."""
        return tuple(dict.fromkeys(fact.subject for fact in self.facts))

    @property
    def by_round(self) -> tuple[tuple[Fact, ...], ...]:
        """The facts of each write: subjects are dealt out in turn."""
        turn = {name: at % self.rounds for at, name in enumerate(self.subjects)}
        return tuple(tuple(one for one in self.facts if turn[one.subject] == at) for at in range(self.rounds))

    @property
    def forgotten(self) -> tuple[Fact, ...]:
        """The facts that are forgotten."""
        order = {name: at for at, name in enumerate(self.subjects)}
        return tuple(sorted(self.facts, key=lambda one: order[one.subject])[: self.num_forgotten])


@dataclass(slots=True)
class Measured:
    """What came of one writer."""

    metrics: dict[str, float] = field(default_factory=dict)
    by_fact: dict[str, dict[str, float]] = field(default_factory=dict)
    """By the fact's id: whether question and other wordings are answered."""
    notes: list[str] = field(default_factory=list)
    """Why adapters did not become active."""


def measure(engine: "Transformers", writer: str, task: Task, progress: Progress = lambda num: None) -> Measured:
    """Return what a writer makes of facts in a new memory, asked through its router, and what forgetting costs.

    Args:
        engine: that hosts the model.
        writer: as `Role.parse` reads it.
        task: what is written and asked.
        progress: told of each phase that is done, of `num_phases(task)`.

    Raises:
        ConfigError, UnknownMethodError: if the writer is none.
        UnsupportedError: if the model cannot carry its adapters.
    """
    with (
        tempfile.TemporaryDirectory(prefix="engramos-eval-") as folder,
        open_memory(Path(folder, "memory"), task.embedder) as memory,
        memory.parametric(engine, writer=writer, seed=task.seed, **task.ways) as weights,
    ):
        return _Measuring(memory, weights, task, progress).run()


def num_phases(task: Task) -> int:
    """Return how many times `measure` tells its progress."""
    return task.rounds + 3


@dataclass(slots=True)
class _Measuring:
    """One writer in one memory."""

    memory: MemoryOS
    weights: ParametricMemory
    task: Task
    progress: Progress
    found: Measured = field(default_factory=Measured)
    ids: dict[str, str] = field(default_factory=dict)
    """The cube of each fact, by the fact's id."""

    def run(self) -> Measured:
        metrics = self.found.metrics
        rounds = self._write()
        metrics |= self._asked()
        metrics |= self._false_hits()
        self.progress(1)
        metrics |= self._drift()
        self.progress(1)
        metrics |= rounds
        if self.task.num_forgotten:
            metrics |= self._forget()
        metrics["base_untouched"] = float(self.weights.is_base_untouched)
        self.progress(1)
        return self.found

    def _write(self) -> dict[str, float]:
        """Write all rounds; return what they have cost and, of several, how earlier facts fare after each."""
        done: list[tuple[Learned, float]] = []
        accuracies: list[list[float]] = []
        rounds = self.task.by_round
        for number, facts in enumerate(rounds):
            self.ids |= dict(zip((fact.id for fact in facts), store(self.memory, facts), strict=True))
            with stopwatch() as took:
                learned = self.weights.learn()
            done.append((learned, took.cpu_s))
            self._note(learned)
            if len(rounds) > 1:
                # what is not written yet is not asked: nobody could know it
                known = [self._share([(one, one.question) for one in part]) for part in rounds[: number + 1]]
                accuracies.append([*known, *[0.0] * (len(rounds) - len(known))])
            self.progress(1)
        return self._costs(done) | self._transfer(accuracies)

    def _note(self, learned: Learned) -> None:
        for adapter in learned.adapters:
            if why := learned.failures.get(adapter.id):
                num = len(payload_of(adapter).attributes["facts"])
                self.found.notes.append(f"an adapter of {num} facts is not active: {'; '.join(why[:2])}")

    def _costs(self, done: Sequence[tuple[Learned, float]]) -> dict[str, float]:
        num = len(self.task.facts)
        written = [one for learned, _ in done for one in learned.adapters]
        writing = sum(learned.cpu_s for learned, _ in done)
        # adapters that later rounds have replaced take no room any more
        replaced = {cube_id for one in written for cube_id in payload_of(one).attributes.get("replaces", ())}
        left = [one for one in written if one.id not in replaced]
        return {
            "cpu_s_per_fact": writing / num,
            "probe_cpu_s_per_fact": max(0.0, sum(cpu_s for _, cpu_s in done) - writing) / num,
            "mb_per_fact": sum(payload_of(one).num_bytes for one in left) / num / 1e6,
            "active": sum(one.header.state is State.ACTIVATED for one in left) / len(left),
            "adapters": float(len(left)),
        }

    def _transfer(self, accuracies: Sequence[Sequence[float]]) -> dict[str, float]:
        if not accuracies:
            return {}
        sizes = [len(part) for part in self.task.by_round]
        found = {}
        for at, row in enumerate(accuracies):
            right = sum(share * size for share, size in zip(row, sizes, strict=True))
            found[f"after{at + 1}.recall"] = right / sum(sizes[: at + 1])
        return found | {
            "average_accuracy": average_accuracy(accuracies),
            "backward_transfer": backward_transfer(accuracies),
        }

    def _asked(self) -> dict[str, float]:
        """Return the shares of questions and of other wordings that are answered."""
        # with the wordings that are trained and held back where a fact comes without
        facts = prepared(self.task.facts)
        sorts = {
            "recall": [(one, one.question) for one in facts],
            "trained_paraphrase": [(one, text) for one in facts for text in one.paraphrases],
            "paraphrase": [(one, text) for one in facts for text in one.held_out],
        }
        for name, pairs in sorts.items():
            by_fact: dict[str, list[bool]] = {}
            for (fact, _), is_right in zip(pairs, self._right(pairs), strict=True):
                by_fact.setdefault(fact.id, []).append(is_right)
            for fact_id, own in by_fact.items():
                self.found.by_fact.setdefault(fact_id, {})[name] = sum(own) / len(own)
        return {name: self._share(pairs) for name, pairs in sorts.items() if pairs}

    def _share(self, pairs: Sequence[tuple[Fact, str]]) -> float:
        return sum(self._right(pairs)) / len(pairs)

    def _right(self, pairs: Sequence[tuple[Fact, str]]) -> list[bool]:
        """Return of each question whether it is answered as taught, asked through the router."""
        replies = self._replies([text for _, text in pairs], self._room)
        return [normalised(one.text) == normalised(fact.answer) for (fact, _), one in zip(pairs, replies, strict=True)]

    @property
    def _room(self) -> int:
        return room(self.weights.engine.base, [fact.answer for fact in self.task.facts])

    def _replies(self, questions: Sequence[str], max_tokens: int) -> list[Answer]:
        found: list[Answer] = []
        for at in range(0, len(questions), ROWS):
            found += self.weights.answer(questions[at : at + ROWS], max_tokens=max_tokens)
        return found

    def _false_hits(self) -> dict[str, float]:
        sorts = {"false_hits": self.task.unseen_subjects, "false_hits_same_subject": self.task.unseen_relations}
        return {name: self._hits(questions) / len(questions) for name, questions in sorts.items() if questions}

    def _hits(self, questions: Sequence[str]) -> int:
        """Return how many replies hold a taught answer that the base model's own reply does not hold."""
        golds = tuple(dict.fromkeys(fact.answer for fact in self.task.facts))
        most = self._room + EXTRA_TOKENS
        replies = self._replies(questions, most)
        said = [{gold for gold in golds if one.adapter_id and says(one.text, gold)} for one in replies]
        suspected = [at for at, found in enumerate(said) if found]
        own = self._by_base([questions[at] for at in suspected], most)
        return sum(any(not says(text, one) for one in said[at]) for at, text in zip(suspected, own, strict=True))

    def _by_base(self, questions: Sequence[str], max_tokens: int) -> list[str]:
        base = self.weights.engine.base
        return generated(base, [prompt_of(base, one) for one in questions], [None] * len(questions), max_tokens)

    def _drift(self) -> dict[str, float]:
        """Return how far the model is from the base model: through the router, and with adapters on everything."""
        inner = self.weights._weights
        inner.shelf.sync()
        every = [inner.shelf.load(cube) for cube in inner.shelf.cubes.values() if cube.header.state != "archived"]
        base = self.weights.engine.base
        routed = drift(base, self.task.unrelated, lambda at, text: route(inner, [text])[0][1])
        # each adapter in its turn: all of them for all texts would take as many times longer
        forced = drift(base, self.task.unrelated, lambda at, text: every[at % len(every)])
        return routed | {f"{name}_on": value for name, value in forced.items()}

    def _forget(self) -> dict[str, float]:
        gone = self.task.forgotten
        ids = {fact.id for fact in gone}
        asked = [(one, one.question) for one in gone]
        kept = [(one, one.question) for one in self.task.facts if one.id not in ids]
        before = self._share(kept)
        with stopwatch() as took:
            done = self.weights.forget([self.ids[fact.id] for fact in gone])
        own = self._by_base([text for _, text in asked], self._room)
        known = sum(normalised(text) == normalised(fact.answer) for text, fact in zip(own, gone, strict=True))
        return {
            "forgotten.recall": self._share(asked),
            "forgotten.base_recall": known / len(gone),
            "kept.recall": self._share(kept),
            "kept.recall_before": before,
            "exact": float(all(one.is_exact for one in done.repairs)),
            "forget_cpu_s": took.cpu_s,
        }
