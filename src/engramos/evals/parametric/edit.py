"""What editors change: the facts that are asked for, their paraphrases, their neighbours, and running text."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean, harmonic_mean

import torch
from torch import Tensor

from engramos.errors import InvalidInputError, ModelError, UnsupportedError
from engramos.evals.kv.stopwatch import stopwatch
from engramos.evals.parametric.edit_cases import Case
from engramos.evals.parametric.edit_reading import (
    Readings,
    TextReading,
    are_equal,
    readings,
    scores_of,
    text_reading,
    windows_of,
)
from engramos.parametric.adapter import Adapter
from engramos.parametric.editors.base import Edit, Editor
from engramos.parametric.model import BaseModel

BASE = "base"
"""The row of the model without edits."""
WINDOWS_AN_EDIT = 4
"""Stretches of running text that a single edit reads, in turn; edits in sequence read all."""
PROBED = 4
"""Prompts of edits whose scores must come back bit for bit when all are undone."""
SCORED = ("efficacy", "paraphrase", "neighbourhood")
"""What the score is the harmonic mean of."""


@dataclass(slots=True)
class Outcome:
    """What one editor did: single edits, or so many in sequence."""

    method: str
    num_sequential: int = 0
    """0 for single edits."""
    cases: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics by case."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Metrics of the whole."""

    @property
    def name(self) -> str:
        """Such as `rome` or `rome.seq100`."""
        return f"{self.method}.seq{self.num_sequential}" if self.num_sequential else self.method

    def metrics(self) -> dict[str, float]:
        """Return the mean of each metric over the cases that have it, their score, and the numbers of the whole."""
        names = list(dict.fromkeys(name for one in self.cases.values() for name in one))
        found = {name: fmean(one[name] for one in self.cases.values() if name in one) for name in names}
        if all(name in found for name in SCORED):
            found["score"] = harmonic_mean([found[name] for name in SCORED])
        return found | self.numbers


@dataclass(slots=True)
class Run:
    """Everything that was measured."""

    outcomes: list[Outcome] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What could not be measured, and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How much is measured."""

    edits: int
    """Single edits, 0 or more."""
    sequential: tuple[int, ...]
    """Numbers of edits made one after the other, rising; may be empty."""
    seed: int = 0

    @property
    def num_cases(self) -> int:
        """How many cases are needed."""
        return max(self.edits, *self.sequential, 0)

    @property
    def edits_an_editor(self) -> int:
        """How many edits each editor makes."""
        return self.edits + max(self.sequential, default=0)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What stays the same for all editors."""

    base: BaseModel
    cases: Sequence[Case]
    before: Sequence[Readings]
    """Of each case, by the unedited model."""
    windows: Tensor
    """Running text: (windows, tokens) int64; there may be none."""
    texts: TextReading
    digest: str
    asked: Asked
    progress: Callable[[int], None]


def measure(
    base: BaseModel,
    editors: Mapping[str, Editor],
    cases: Sequence[Case],
    asked: Asked,
    text: Sequence[str] = (),
    progress: Callable[[int], None] = lambda num: None,
) -> Run:
    """Return what each editor makes of the cases, one at a time and in sequence.

    Source: the metrics of CounterFact, ROME, https://arxiv.org/abs/2202.05262, section 4.2.
    Differs: one neighbour a case, counted in `neighbourhood` only where the unedited model prefers its answer;
    `locality` is whether the likeliest next token of the neighbour stays.

    Args:
        base: the model; it must hold no adapter.
        editors: by the name that rows show.
        cases: as many as are asked for.
        asked: how much.
        text: paragraphs of running text; none leaves out what is measured on it.
        progress: called with 1 after each edit.

    Raises:
        InvalidInputError: if the model holds an adapter already.
    """
    if base.held:
        raise InvalidInputError("the model holds adapters: release them before editors are measured")
    windows = windows_of(base, text, asked.seed)
    before = readings(base, cases)
    scene = _Scene(base, cases, before, windows, text_reading(base, windows), base.digest(), asked, progress)
    unedited = {case.name: _asked_metrics(one) for case, one in zip(cases, before, strict=True)}
    run = Run([Outcome(BASE, 0, unedited)])
    if not len(windows):
        run.left_out.append("locality_text and ppl_drift: there is no long enough running text in the data folder")
    for name, editor in editors.items():
        try:
            run.outcomes += [*_single(scene, name, editor), *_sequential(scene, name, editor)]
        except UnsupportedError as error:
            run.left_out.append(f"{name}: {error}")
    return run


def _single(scene: _Scene, name: str, editor: Editor) -> Iterator[Outcome]:
    """Yield what single edits do, each undone before the next; nothing where none is asked for."""
    if not scene.asked.edits:
        return
    outcome, costs, drift, is_undone = Outcome(name), _Costs(), _Drift(), True
    for number, case in enumerate(scene.cases[: scene.asked.edits]):
        witness = scores_of(scene.base, [case])
        with _holding(scene.base) as held:
            held += costs.edit(editor, case, scene)
            after = readings(scene.base, [case])[0]
            outcome.cases[case.name] = _metrics(scene.before[number], after)
            if len(scene.windows):
                some = [(number * WINDOWS_AN_EDIT + one) % len(scene.windows) for one in range(WINDOWS_AN_EDIT)]
                drift.add(scene, sorted(set(some)))
        is_undone &= are_equal(witness, scores_of(scene.base, [case]))
    is_undone &= scene.base.digest() == scene.digest
    outcome.numbers = drift.metrics() | costs.metrics() | {"undo_exact": float(is_undone)}
    yield outcome


def _sequential(scene: _Scene, name: str, editor: Editor) -> Iterator[Outcome]:
    """Yield what edits do that are made one after the other, each with all earlier ones held."""
    most = max(scene.asked.sequential, default=0)
    probed = scene.cases[:PROBED]
    witness, costs = scores_of(scene.base, probed), _Costs()
    with _holding(scene.base) as held:
        for number, case in enumerate(scene.cases[:most], start=1):
            held += costs.edit(editor, case, scene)
            if number not in scene.asked.sequential:
                continue
            outcome, drift = Outcome(name, number), _Drift()
            after = readings(scene.base, scene.cases[:number])
            for one, was, now in zip(scene.cases, scene.before, after, strict=False):
                outcome.cases[one.name] = _metrics(was, now)
            if len(scene.windows):
                drift.add(scene, range(len(scene.windows)))
            is_undone = _are_undone(scene, held, probed, witness)
            outcome.numbers = drift.metrics() | costs.metrics() | {"undo_exact": float(is_undone)}
            yield outcome


@contextmanager
def _holding(base: BaseModel) -> Iterator[list[Edit]]:
    """Yield a list of edits that are applied; they are undone at the end, in reverse order."""
    held: list[Edit] = []
    try:
        yield held
    finally:
        for edit in reversed(held):
            edit.undo(base)


def _are_undone(scene: _Scene, held: Sequence[Edit], probed: Sequence[Case], witness: Sequence[Tensor]) -> bool:
    """Return whether the model is bit for bit as before once all edits are undone; then apply them again."""
    for edit in reversed(held):
        edit.undo(scene.base)
    is_same = are_equal(witness, scores_of(scene.base, probed)) and scene.base.digest() == scene.digest
    for edit in held:
        edit.apply(scene.base)
    return is_same


@dataclass(slots=True)
class _Costs:
    """What edits have cost so far."""

    seconds: list[float] = field(default_factory=list)
    num_bytes: list[int] = field(default_factory=list)
    num_failed: int = 0

    def edit(self, editor: Editor, case: Case, scene: _Scene) -> list[Edit]:
        """Make and apply an edit; return it, or nothing where it could not be made."""
        made: Adapter | None = None
        with stopwatch() as took:
            try:
                made = editor.edit([case.request], scene.base, seed=scene.asked.seed)
            except (InvalidInputError, ModelError):
                self.num_failed += 1
        self.seconds.append(took.cpu_s)
        scene.progress(1)
        if made is None:
            return []
        self.num_bytes.append(made.num_bytes)
        edit = Edit(made, (case.request,))
        edit.apply(scene.base)
        return [edit]

    def metrics(self) -> dict[str, float]:
        """Return means an edit, and how many could not be made.

        What an editor prepares once for a model counts in its first edit.
        """
        size = {"kb_per_edit": fmean(self.num_bytes) / 1000} if self.num_bytes else {}
        return {"cpu_s_per_edit": fmean(self.seconds), **size, "failed": float(self.num_failed)}


@dataclass(slots=True)
class _Drift:
    """How far running text has moved."""

    is_same: list[Tensor] = field(default_factory=list)
    more_loss: list[Tensor] = field(default_factory=list)

    def add(self, scene: _Scene, some: Sequence[int]) -> None:
        """Read windows with what the model holds, beside what it made of them unedited."""
        chosen = list(some)
        now = text_reading(scene.base, scene.windows[chosen])
        self.is_same.append((now.first == scene.texts.first[chosen]).flatten())
        self.more_loss.append((now.loss - scene.texts.loss[chosen]).flatten())

    def metrics(self) -> dict[str, float]:
        """Return the share of likeliest tokens that stayed, and by which share the perplexity grew."""
        if not self.is_same:
            return {}
        loss = float(torch.cat(self.more_loss).double().mean())
        # an edit that ruins a model must still be a number that JSON holds
        drift = math.expm1(min(loss, 500.0))
        return {"locality_text": float(torch.cat(self.is_same).double().mean()), "ppl_drift": drift}


def _metrics(before: Readings, after: Readings) -> dict[str, float]:
    found = _asked_metrics(after)
    found["locality"] = float(before.neighbour_old.first == after.neighbour_old.first)
    if before.neighbour_old.likelihood > before.neighbour_new.likelihood:
        found["neighbourhood"] = float(after.neighbour_old.likelihood > after.neighbour_new.likelihood)
    return found


def _asked_metrics(after: Readings) -> dict[str, float]:
    return {
        "efficacy": float(after.new.likelihood > after.old.likelihood),
        "efficacy_exact": float(after.new.is_exact),
        "paraphrase": float(after.paraphrase_new.likelihood > after.paraphrase_old.likelihood),
        "paraphrase_exact": float(after.paraphrase_new.is_exact),
    }
