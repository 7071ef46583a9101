"""Recall tables of the committed results of `engramos eval`: `python -m benchmarks.recall_table [--check]`.

README.md gets one row a headline metric, docs/results.md all metrics of each benchmark, by level and by category.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.table import within

from engramos.evals import ROLE

ROOT = Path(__file__).parents[1]
START, END = "<!-- recall:start -->", "<!-- recall:end -->"
HEADLINES = {
    "locomo": ("turn.fraction@5", "turn.fraction@10", "turn.fraction@20", "session.fraction@10"),
    "beam": ("100K.fraction@10", "500K.fraction@10", "1M.fraction@10"),
    "longmemeval": ("session.any@5",),
    "prefeval": ("preference.any@5",),
    "factconsolidation": ("newest", "stale"),
    "multihop": ("hotpotqa.fraction@5", "musique.fraction@5"),
    "sort": ("accuracy",),
}
"""By benchmark: the metrics of README.md. Lower is better for `stale`."""
BASELINES = ("bm25", "dense", "rrf60")


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results that a folder holds, in the order of `HEADLINES`.

    Raises:
        ValueError: if one lacks a metric of README.md.
    """
    paths = [folder / f"{name}.json" for name in HEADLINES]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    for result in results:
        missing = [name for name in HEADLINES[result["benchmark"]] if name not in result["metrics"]]
        if missing:
            raise ValueError(f"{result['benchmark']}.json lacks {', '.join(missing)}: run it on all of its data")
    return results


def summary(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the headline metrics as Markdown: ours, and the baselines of the same runs."""
    heads = ["benchmark", "questions", "metric", "engramos", *BASELINES]
    lines = [_line(heads), "| --- | ---: | --- |" + " ---: |" * (1 + len(BASELINES))]
    for result in results:
        for number, metric in enumerate(HEADLINES[result["benchmark"]]):
            first = [result["benchmark"], f"{result['settings']['asked']:,}"] if number == 0 else ["", ""]
            values = [_value(result["metrics"], metric)]
            values += [_value(result["baselines"].get(name, {}), metric) for name in BASELINES]
            lines.append(_line([*first, _named(metric), *values]))
    return "\n".join(lines)


def _named(metric: str) -> str:
    return f"{metric} (lower is better)" if metric == "stale" else metric


def details(results: Sequence[Mapping[str, Any]]) -> str:
    """Return every metric as Markdown: of each benchmark what was run, then tables by level and by category."""
    return "\n\n".join(part for result in results for part in _detail(result))


def _detail(result: Mapping[str, Any]) -> list[str]:
    settings, own, name = result["settings"], result["metrics"], result["benchmark"]
    methods = {"engramos": own, **result["baselines"]}
    measured = [key for key in own if all(key in metrics for metrics in methods.values())]
    categories = [key.removesuffix(".questions") for key in measured if key.endswith(".questions")]
    levels = [level for level in dict.fromkeys(key.rpartition(".")[0] for key in measured) if level not in categories]
    rate = "" if "ingest_per_s" not in own else f", stored at {own['ingest_per_s']:,.0f} a second"
    parts = [
        f"## {name}",
        f"`engramos eval {name}` at `{settings['commit'][:12]}` on {settings['at'][:10]}, embedder "
        f"{settings['embedder']}: {settings['asked']:,} questions on {own['memories']:,.0f} memories{rate}, "
        f"{own['stored_bytes_per_memory']:,.0f} bytes a memory. Search p50 {own['search_p50_ms']:.1f} ms, p95 "
        f"{own['search_p95_ms']:.1f} ms; a context has {own['context_tokens']:,.0f} tokens, a user's whole memory "
        f"{own['full_context_tokens']:,.0f}.",
    ]
    for level in levels:
        columns = [key for key in measured if key.rpartition(".")[0] == level]
        rows = [[one, *(_value(metrics, key) for key in columns)] for one, metrics in methods.items()]
        parts.append(_table([f"{level} level" if level else "", *(key.rpartition(".")[2] for key in columns)], rows))
    for kind in ROLE.load(name).shown:
        rows = [
            [
                one,
                f"{own[f'{one}.questions']:,.0f}",
                *(_value(metrics, f"{one}.{kind}") for metrics in methods.values()),
            ]
            for one in categories
        ]
        parts += [_table([f"{kind} of", "questions", *methods], rows)] * bool(rows)
    return parts


def _value(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_line(heads), f"| --- |{' ---: |' * (len(heads) - 1)}", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the tables into the pages, or with `--check` say whether they are stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall_table", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder with NAME.json")
    parser.add_argument("--pages", type=Path, default=ROOT, help="folder with README.md and docs/results.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    asked = parser.parse_args()
    results = read_results(asked.results)
    is_stale = False
    for name, made in (("README.md", summary(results)), ("docs/results.md", details(results))):
        path = asked.pages / name
        before = path.read_text(encoding="utf-8")
        after = within(before, made, START, END)
        if not asked.check:
            path.write_text(after, encoding="utf-8")
        elif after != before:
            is_stale = True
            print(f"{path} is stale: run 'python -m benchmarks.recall_table'", file=sys.stderr)
    return int(is_stale)


if __name__ == "__main__":
    sys.exit(main())
