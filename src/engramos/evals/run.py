"""A run: fill memories, ask every question with every method, and keep each answer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engramos.config import load
from engramos.cube import MemCube
from engramos.evals.benchmarks.base import Answered, Benchmark, Loaded, Question, Searching
from engramos.evals.embedding import Remembering
from engramos.evals.method import PLANS, Method
from engramos.evals.metrics import mean, percentile
from engramos.memory import MemoryOS
from engramos.plaintext.contexts.block import estimate_tokens, render
from engramos.plaintext.plan import Plan
from engramos.scope import Scope
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.parts import Parts, make_embedder

TIMED = 10
"""How many cubes the timed searches return."""
TIMED_QUESTIONS = 300
"""About how many questions are timed, spread evenly; a slow method would otherwise answer each three times."""
BATCH = 256
"""Records of one commit."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what each method made of it."""

    question: Question
    answers: Mapping[str, Answered]
    """By method."""


@dataclass(slots=True)
class Run:
    """What a run measured."""

    asked: list[Asked] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    """Rates, times, tokens and bytes, by metric name."""


def open_memory(folder: Path, embedder: str, vectors: Path | None = None) -> MemoryOS:
    """Return a new memory in which questions are embedded once, and texts once for all runs that share `vectors`.

    Raises:
        UnknownMethodError, ConfigError: if there is no such embedder.
        MissingExtraError: if its packages are not installed.
    """
    settings = load({"folder": folder, "user": "eval", "embedder": embedder}, environment={})
    made = None if embedder == "none" else Remembering(make_embedder(settings), vectors)
    return MemoryOS(Parts(SqliteVault(settings.folder), settings, made_embedder=made))


def scope_of(user: str) -> Scope:
    """Return the scope in which a benchmark's user is kept."""
    return Scope("local", user)


def fill(memory: MemoryOS, loaded: Loaded, progress: Callable[[int], None] = lambda num: None) -> dict[str, float]:
    """Store every part into its user's memory, and return the ingest numbers."""
    start = time.perf_counter()
    num = 0
    for part in loaded.parts:
        for start_at in range(0, len(part.records), BATCH):
            batch = part.records[start_at : start_at + BATCH]
            num += len(memory.add(batch, scope=scope_of(part.user)).cube_ids)
            progress(len(batch))
    elapsed_s = time.perf_counter() - start
    made = memory._parts.made_embedder
    num_bytes = float(memory.stats(scope=scope_of(loaded.parts[0].user))["folder_bytes"])
    return {
        "memories": float(num),
        **({} if getattr(made, "num_kept", 0) else {"ingest_per_s": num / elapsed_s}),
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
    step = max(1, len(loaded.questions) // TIMED_QUESTIONS)
    for number, question in enumerate(loaded.questions):
        if number % step == 0:
            whole_s.append(_timed(memory, question, method.plan))
            search_s.append(_timed(memory, question, method.plan))
            block = memory.context(question.text, asked_at=question.asked_at, scope=scope_of(question.user))
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
    answers = [asked.answers[name].metrics for asked in run.asked]
    found: dict[str, float] = {}
    for level in dict.fromkeys(level for answer in answers for level in answer):
        # a question whose data say nothing about a level does not count there
        means = mean([answer[level] for answer in answers if level in answer])
        found |= {f"{level}.{kind}" if level else kind: value for kind, value in means.items()}
    firsts = [next(iter(answer.values())) for answer in answers]
    for category in sorted({one for asked in run.asked for one in asked.question.categories}):
        rows = [row for row, asked in zip(firsts, run.asked, strict=True) if category in asked.question.categories]
        found |= {f"{category}.{kind}": value for kind, value in mean(rows).items()}
        found[f"{category}.questions"] = float(len(rows))
    return found


def _timed(memory: MemoryOS, question: Question, plan: Plan) -> float:
    start = time.perf_counter()
    memory.search(question.text, limit=TIMED, asked_at=question.asked_at, plan=plan, scope=scope_of(question.user))
    return time.perf_counter() - start


def _ask(memory: MemoryOS, benchmark: Benchmark, question: Question, plans: Mapping[str, Plan]) -> Asked:
    scope = scope_of(question.user)

    def searching(plan: Plan) -> Searching:
        def search(text: str, limit: int) -> list[MemCube]:
            hits = memory.search(text, limit=limit, asked_at=question.asked_at, plan=plan, scope=scope)
            return [hit.cube for hit in hits]

        return search

    return Asked(question, {name: benchmark.answer(searching(plan), question) for name, plan in plans.items()})


def _full_context(memory: MemoryOS, loaded: Loaded) -> float:
    """Return about how many tokens it takes to put a user's whole memory into a prompt; the mean over users."""
    total = 0
    for part in loaded.parts:
        after = ""
        while cubes := memory.list(after=after, limit=1_000, scope=scope_of(part.user)):
            total += sum(estimate_tokens(render(cube)) for cube in cubes)
            after = cubes[-1].id
    return total / len(loaded.parts)
