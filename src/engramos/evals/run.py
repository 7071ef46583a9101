"""A run: fill memories, ask every question with every method, and keep each answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engramos.config import load
from engramos.cube import MemCube
from engramos.evals.benchmarks.base import Benchmark, Loaded, Question
from engramos.evals.embedding import Remembering
from engramos.evals.method import PLANS, Method
from engramos.evals.metrics import distinct, mean, percentile, scores
from engramos.memory import MemoryOS
from engramos.plaintext.contexts.block import estimate_tokens, render
from engramos.plaintext.plan import Plan
from engramos.scope import Scope
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.parts import Parts, make_embedder

DEPTH = 200
"""How many cubes are read of a ranking, so that coarser levels can be read from it too."""
SHOWN = 10
"""How many cubes the timed searches return."""

Answer = Mapping[str, Mapping[str, float]]
"""The metrics of one question, by level."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what each method made of it."""

    question: Question
    answers: Mapping[str, Answer]
    """By method."""
    found: Mapping[str, Sequence[str]]
    """The first units of the first level, best first, by method."""


@dataclass(slots=True)
class Run:
    """What a run measured."""

    asked: list[Asked] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    """Rates, times, tokens and bytes, by metric name."""


def open_memory(folder: Path, embedder: str) -> MemoryOS:
    """Return a new memory in which questions are embedded once.

    Raises:
        UnknownMethodError, ConfigError: if there is no such embedder.
        MissingExtraError: if its packages are not installed.
    """
    settings = load({"folder": folder, "user": "eval", "embedder": embedder}, environment={})
    made = None if embedder == "none" else Remembering(make_embedder(settings))
    return MemoryOS(Parts(SqliteVault(settings.folder), settings, made_embedder=made))


def scope_of(user: str) -> Scope:
    """Return the scope in which a benchmark's user is kept."""
    return Scope("local", user)


def fill(memory: MemoryOS, loaded: Loaded, progress: Callable[[int], None] = lambda num: None) -> dict[str, float]:
    """Import every part into its user's memory, and return the ingest numbers."""
    start = time.perf_counter()
    num = 0
    for part in loaded.parts:
        taken = memory.import_file(
            part.path, importer=part.importer, is_strict=True, scope=scope_of(part.user), progress=progress
        )
        num += taken.num_cubes
    elapsed_s = time.perf_counter() - start
    num_bytes = float(memory.stats(scope=scope_of(loaded.parts[0].user))["folder_bytes"])
    return {
        "memories": float(num),
        "ingest_per_s": num / elapsed_s,
        "stored_bytes": num_bytes,
        "stored_bytes_per_memory": num_bytes / num,
        "full_context_tokens": _full_context(memory, loaded),
    }


def ask_all(
    memory: MemoryOS,
    benchmark: Benchmark,
    loaded: Loaded,
    method: Method,
    progress: Callable[[int], None] = lambda num: None,
) -> Run:
    """Ask every question with the method and with each baseline."""
    run = Run()
    plans = {method.plan_name: method.plan} | dict(list(PLANS.items())[1:])
    if method.embedder == "none":
        plans = {name: plan for name, plan in plans.items() if name not in ("dense", "rrf60")}
    whole_s, search_s, tokens = [], [], []
    for part in loaded.parts:
        memory.search("warm up", scope=scope_of(part.user))
    for question in loaded.questions:
        whole_s.append(_timed(memory, question, method.plan))
        search_s.append(_timed(memory, question, method.plan))
        scope = scope_of(question.user)
        block = memory.context(question.text, asked_at=question.asked_at, scope=scope)
        tokens.append(float(block.num_tokens))
        run.asked.append(_ask(memory, benchmark, question, plans))
        progress(1)
    for name, times in (("search", whole_s), ("search_no_embedder", search_s)):
        run.numbers[f"{name}_p50_ms"] = percentile(times, 0.5) * 1_000
        run.numbers[f"{name}_p95_ms"] = percentile(times, 0.95) * 1_000
    run.numbers["context_tokens"] = sum(tokens) / len(tokens)
    return run


def metrics_of(run: Run, benchmark: Benchmark, name: str) -> dict[str, float]:
    """Return the means of one method: `turn.fraction@10`, ..., and by category `temporal.fraction@10`, ..."""
    found: dict[str, float] = {}
    for level in benchmark.levels:
        means = mean([asked.answers[name][level] for asked in run.asked])
        found |= {f"{level}.{kind}": value for kind, value in means.items()}
    first = next(iter(benchmark.levels))
    for category in sorted({asked.question.category for asked in run.asked}):
        rows = [asked.answers[name][first] for asked in run.asked if asked.question.category == category]
        found |= {f"{category}.{kind}": value for kind, value in mean(rows).items()}
        found[f"{category}.questions"] = float(len(rows))
    return found


def _timed(memory: MemoryOS, question: Question, plan: Plan) -> float:
    start = time.perf_counter()
    memory.search(question.text, limit=SHOWN, asked_at=question.asked_at, plan=plan, scope=scope_of(question.user))
    return time.perf_counter() - start


def _ask(memory: MemoryOS, benchmark: Benchmark, question: Question, plans: Mapping[str, Plan]) -> Asked:
    answers: dict[str, Answer] = {}
    found: dict[str, Sequence[str]] = {}
    for name, plan in plans.items():
        hits = memory.search(
            question.text, limit=DEPTH, asked_at=question.asked_at, plan=plan, scope=scope_of(question.user)
        )
        cubes = [hit.cube for hit in hits]
        ranked = {level: _units(cubes, unit) for level, unit in benchmark.levels.items()}
        answers[name] = {level: scores(ranked[level], question.gold[level]) for level in benchmark.levels}
        found[name] = ranked[next(iter(benchmark.levels))][:20]
    return Asked(question, answers, found)


def _units(cubes: Sequence[MemCube], unit: Callable[[MemCube], str]) -> list[str]:
    return distinct([unit(cube) for cube in cubes])


def _full_context(memory: MemoryOS, loaded: Loaded) -> float:
    """Return about how many tokens it takes to put a user's whole memory into a prompt; the mean over users."""
    total = 0
    for part in loaded.parts:
        after = ""
        while cubes := memory.list(after=after, limit=1_000, scope=scope_of(part.user)):
            total += sum(estimate_tokens(render(cube)) for cube in cubes)
            after = cubes[-1].id
    return total / len(loaded.parts)
