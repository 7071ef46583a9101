"""The result of a run: one object for machines, a table for people, and every question's outcome as JSON lines."""

import json
import platform
import subprocess
from collections.abc import Mapping
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
from engramos.evals.metrics import KS, NDCG_K
from engramos.evals.run import Answer, Run, metrics_of

_KINDS = (*(f"fraction@{k}" for k in KS), *(f"any@{k}" for k in KS), *(f"all@{k}" for k in KS), f"ndcg@{NDCG_K}")

_KEPT = (*(f"fraction@{k}" for k in KS), f"ndcg@{NDCG_K}")
"""What is kept of each question; the other kinds follow from these."""


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
            **loaded.counts,
        },
        "metrics": _rounded(metrics_of(run, benchmark, method.plan_name) | run.numbers),
        "baselines": {other: _rounded(metrics_of(run, benchmark, other)) for other in names if other in _BASELINES},
    }


_BASELINES = tuple(PLANS)[1:]


def write(folder: Path, result: Mapping[str, Any], run: Run) -> tuple[Path, Path]:
    """Write `NAME.json`, and `NAME.jsonl` whose first line has the settings and the others one question each.

    Raises:
        StoreError: if the folder cannot be written.
    """
    whole, lines = folder / f"{result['benchmark']}.json", folder / f"{result['benchmark']}.jsonl"
    with translate({OSError: StoreError}, f"writing results to {folder}", next_step="choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        with lines.open("w", encoding="utf-8") as file:
            file.write(json.dumps({key: result[key] for key in ("benchmark", "method", "settings")}) + "\n")
            for asked in run.asked:
                question = asked.question
                # the question's text stays out: its licence may not let us pass it on
                row = {
                    "question": question.question_id,
                    "category": question.category,
                    "gold": sorted(next(iter(question.gold.values()))),
                    "found": asked.found,
                    "metrics": {
                        name: {lv: _rounded(one) for lv, one in by.items()} for name, by in asked.answers.items()
                    },
                }
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
    return whole, lines


def table(benchmark: Benchmark, result: Mapping[str, Any]) -> RenderableType:
    """Return the tables that a person reads: all levels, then categories, then speed and size."""
    methods = {result["method"]: result["metrics"]} | result["baselines"]
    shown = [_levels(f"{result['benchmark']}: {level} level", level, methods) for level in benchmark.levels]
    first = next(iter(benchmark.levels))
    suffix = ".questions"
    categories = [name.removesuffix(suffix) for name in result["metrics"] if name.endswith(suffix)]
    by_category = Table(title=f"{first} fraction@{KS[1]} by category", title_justify="left")
    by_category.add_column("method")
    for category in categories:
        by_category.add_column(f"{category} ({result['metrics'][category + suffix]:.0f})", justify="right")
    for name, metrics in methods.items():
        by_category.add_row(name, *(f"{metrics[f'{category}.fraction@{KS[1]}']:.3f}" for category in categories))
    return Group(*shown, by_category, Text(_speed(result["metrics"])))


def _levels(title: str, level: str, methods: Mapping[str, Mapping[str, float]]) -> Table:
    made = Table(title=title, title_justify="left")
    made.add_column("method")
    for kind in _KINDS:
        made.add_column(kind.replace("fraction", "frac"), justify="right")
    for name, metrics in methods.items():
        made.add_row(name, *(f"{metrics[f'{level}.{kind}']:.3f}" for kind in _KINDS))
    return made


def _speed(metrics: Mapping[str, float]) -> str:
    return (
        f"{metrics['memories']:.0f} memories, {metrics['ingest_per_s']:.0f} a second; "
        f"search p50 {metrics['search_p50_ms']:.1f} ms, p95 {metrics['search_p95_ms']:.1f} ms; without the embedder "
        f"{metrics['search_no_embedder_p50_ms']:.1f} and {metrics['search_no_embedder_p95_ms']:.1f} ms; "
        f"context {metrics['context_tokens']:.0f} tokens, full context {metrics['full_context_tokens']:.0f}; "
        f"{metrics['stored_bytes'] / 1e6:.1f} MB stored, {metrics['stored_bytes_per_memory']:.0f} bytes a memory"
    )


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


def _by_level(answer: Answer) -> dict[str, dict[str, float]]:
    # any@k and all@k follow from fraction@k: above 0, and 1
    return {level: _rounded({kind: metrics[kind] for kind in _KEPT}) for level, metrics in answer.items()}


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}
