"""The result of a run: one object for machines, a table for people, and every question's outcome as JSON lines."""

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engramos import __version__
from engramos.clock import now
from engramos.errors import StoreError, translate
from engramos.evals.benchmarks.base import Benchmark, Loaded
from engramos.evals.method import PLANS, Method
from engramos.evals.outcomes import lines_of
from engramos.evals.run import Run, metrics_of


def result_of(name: str, benchmark: Benchmark, loaded: Loaded, method: Method, run: Run) -> dict[str, Any]:
    """Return the run as one JSON object; `metrics` are ours, `baselines` those of the plans beside it."""
    names = list(run.asked[0].answers)
    return {
        "benchmark": name,
        "method": method.plan_name,
        "settings": {
            **method.settings,
            "changed": dict(method.changed),
            "seed": None,
            "commit": commit(),
            "version": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "at": now().isoformat(timespec="seconds"),
            "asked": len(run.asked),
            **asdict(benchmark),
            **loaded.counts,
        },
        "metrics": _rounded(metrics_of(run, benchmark, method.plan_name) | run.numbers),
        "baselines": {other: _rounded(metrics_of(run, benchmark, other)) for other in names if other in _BASELINES},
    }


_BASELINES = tuple(PLANS)[1:]


def write(folder: Path, result: Mapping[str, Any], run: Run) -> tuple[Path, Path]:
    """Write `NAME.json`, and `NAME.jsonl` with every question's outcome; see `outcomes`.

    Raises:
        StoreError: if the folder cannot be written.
    """
    whole, lines = folder / f"{result['benchmark']}.json", folder / f"{result['benchmark']}.jsonl"
    with translate({OSError: StoreError}, f"writing results to {folder}", next_step="choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(lines_of(result, run))
    return whole, lines


def table(benchmark: Benchmark, result: Mapping[str, Any]) -> RenderableType:
    """Return the tables that a person reads: all levels, then categories, then speed and size.

    The row `full context` is what putting a user's whole memory into the prompt would find, and its price.
    """
    methods = methods_of(result)
    own = set(result["baselines"][_BASELINES[0]])
    categories = [name.removesuffix(".questions") for name in own if name.endswith(".questions")]
    shown = []
    for level in dict.fromkeys(name.rpartition(".")[0] for name in result["metrics"] if name in own):
        if level not in categories:
            shown.append(_levels(f"{result['benchmark']}: {f'{level} level' if level else 'whole'}", level, methods))
    shown += [_categories(kind, sorted(categories), methods) for kind in benchmark.shown]
    return Group(*shown, Text(_speed(result["metrics"])))


def methods_of(result: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """Return each method's metrics, ours first; a baseline that was measured as ours is there once."""
    own = {result["method"]: result["metrics"]}
    return own | {name: metrics for name, metrics in result["baselines"].items() if name not in own}


def groups_of(run: Run) -> list[list[str]]:
    """Return the categories that stand at the same place of the questions' categories, each group sorted."""
    found: dict[int, set[str]] = {}
    for asked in run.asked:
        for place, category in enumerate(asked.question.categories):
            found.setdefault(place, set()).add(category)
    return [sorted(found[place]) for place in sorted(found)]


def _categories(kind: str, categories: list[str], methods: Mapping[str, Mapping[str, float]]) -> Table:
    made = Table(title=f"{kind} by category", title_justify="left")
    made.add_column("category")
    made.add_column("questions", justify="right")
    for name in methods:
        made.add_column(name, justify="right")
    for category in categories:
        values = [f"{metrics[f'{category}.{kind}']:.3f}" for metrics in methods.values()]
        num = next(iter(methods.values()))[f"{category}.questions"]
        made.add_row(category, f"{num:.0f}", *values)
    return made


def _levels(title: str, level: str, methods: Mapping[str, Mapping[str, float]]) -> Table:
    kinds = [name for name in next(iter(methods.values())) if name.rpartition(".")[0] == level]
    kinds = [name for name in kinds if all(name in metrics for metrics in methods.values())]
    made = Table(title=title, title_justify="left")
    made.add_column("method")
    for name in (*kinds, "tokens in the prompt"):
        made.add_column(name.rpartition(".")[2].replace("fraction", "frac"), justify="right")
    for name, metrics in methods.items():
        tokens = f"{metrics['context_tokens']:,.0f}" if "context_tokens" in metrics else ""
        made.add_row(name, *(f"{metrics[kind]:.3f}" for kind in kinds), tokens)
    if any(_is_recall(kind) for kind in kinds):
        tokens = f"{next(iter(methods.values()))['full_context_tokens']:,.0f}"
        made.add_row("full context", *("1.000" if _is_recall(kind) else "" for kind in kinds), tokens)
    return made


def _is_recall(name: str) -> bool:
    """Return whether a metric is 1 by definition where everything is read."""
    return name.rpartition(".")[2].partition("@")[0] in ("fraction", "any", "all")


def _speed(metrics: Mapping[str, float]) -> str:
    return (
        f"{metrics['memories']:.0f} memories, {_rate(metrics)}; "
        f"search p50 {metrics['search_p50_ms']:.1f} ms, p95 {metrics['search_p95_ms']:.1f} ms; without the embedder "
        f"{metrics['search_no_embedder_p50_ms']:.1f} and {metrics['search_no_embedder_p95_ms']:.1f} ms; "
        f"{metrics['stored_bytes'] / 1e6:.1f} MB stored, {metrics['stored_bytes_per_memory']:.0f} bytes a memory"
    )


def _rate(metrics: Mapping[str, float]) -> str:
    rate = metrics.get("ingest_per_s")
    return "vectors from an earlier run" if rate is None else f"{rate:.0f} a second"


def commit() -> str:
    """Return the commit of the source that runs, with `+` where files differ from it; `unknown` outside of git."""
    where = Path(__file__).parent
    outputs = []
    for arguments in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--", ".")):
        try:
            done = subprocess.run(
                ("git", *arguments), cwd=where, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return "unknown"
        outputs.append(done.stdout.strip())
    return outputs[0] + ("+" if outputs[1] else "")


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}
