"""The result of a measurement of caches: one object for machines, tables for people, outcomes as JSON lines."""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engramos import __version__
from engramos.clock import now
from engramos.errors import StoreError, translate
from engramos.evals.kv.rows import FULL, Rows
from engramos.evals.kv.run import Outcome, Run, metrics_of
from engramos.evals.report import commit

_MS, _SHARE, _NUMBER = "{:,.0f}", "{:.2f}", "{:.4f}"
COLUMNS = (
    ("passkey", "passkey", _SHARE),
    ("digits", "digits", _SHARE),
    ("follow_up", "follow-up", _SHARE),
    ("aware_passkey", "aware", _SHARE),
    ("aware_follow_up", "aware, follow-up", _SHARE),
    ("ruler", "ruler", _SHARE),
    ("identical", "identical", _SHARE),
    ("kl", "KL", _NUMBER),
    ("ppl", "perplexity", "{:.2f}"),
    ("bits", "bits", "{:.2f}"),
    ("ttft_ms", "TTFT ms", _MS),
    ("ttft_cpu_ms", "TTFT CPU ms", _MS),
    ("tokens_per_s", "tokens/s", "{:.1f}"),
    ("compress_cpu_ms", "compress CPU ms", _MS),
)
"""Metric, heading and form of the table's columns, after the bytes."""


def about() -> dict[str, Any]:
    """Return what a result says of the program and the machine."""
    return {
        "commit": commit(),
        "version": __version__,
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "machine": platform.machine(),
        "at": now().isoformat(timespec="seconds"),
    }


def result_of(run: Run, rows: Rows, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run as one JSON object; `metrics` are flat: `full.passkey`, `snapkv.kept25.ruler`, `int8.kl`."""
    metrics: dict[str, float] = {}
    for row in rows.rows:
        for name, value in metrics_of(run.outcomes, row.name).items():
            metrics[f"{row.name}.{name}"] = rounded(value)
    counts = {"asked": len(run.outcomes), "text": run.text, "left_out": [*rows.left_out, *run.left_out]}
    return {
        "benchmark": "kv",
        "method": FULL,
        "settings": {**settings, **about(), **counts},
        "metrics": metrics,
    }


def rounded(value: float) -> float:
    """Return a number with five digits that count."""
    return float(f"{value:.5g}")


def lines_of(result: Mapping[str, Any], run: Run) -> Iterator[str]:
    """Yield the lines of a file of outcomes, which `engramos eval compare` reads: a row of the table is a method."""
    rows = list(dict.fromkeys(row for one in run.outcomes for row in one.metrics))
    columns = list(dict.fromkeys(name for one in run.outcomes for row in one.metrics.values() for name in row))
    head = {key: result[key] for key in ("benchmark", "method", "settings")}
    yield json.dumps(head | {"columns": columns}) + "\n"
    for one in run.outcomes:
        yield json.dumps(_line(one, rows, columns), separators=(",", ":")) + "\n"


def _line(one: Outcome, rows: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    values = {row: [one.metrics.get(row, {}).get(column) for column in columns] for row in rows}
    return {
        "question": one.sample.name,
        "categories": list(one.sample.categories),
        "metrics": {
            row: [None if value is None else rounded(value) for value in found] for row, found in values.items()
        },
    }


def write(folder: Path, result: Mapping[str, Any], lines: Iterator[str] | None = None) -> list[Path]:
    """Write `NAME.json`, and `NAME.jsonl` where there are lines; return the paths.

    Raises:
        StoreError: if the folder cannot be written.
    """
    whole = folder / f"{result['benchmark']}.json"
    written = [whole]
    with translate({OSError: StoreError}, f"writing results to {folder}", next_step="choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if lines is not None:
            written.append(whole.with_suffix(".jsonl"))
            with written[-1].open("w", encoding="utf-8") as file:
                file.writelines(lines)
    return written


def table(result: Mapping[str, Any], rows: Rows) -> RenderableType:
    """Return the table that a person reads, and what it leaves out."""
    settings, metrics = result["settings"], result["metrics"]
    lengths = " and ".join(f"{one:,}" for one in settings["lengths"])
    title = f"kv: {lengths} tokens, {settings['asked']} texts ({settings['text']}), {settings['threads']} thread(s)"
    made = Table(title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    made.add_column("cache", no_wrap=True)
    made.add_column("MB", justify="right")
    made.add_column("bytes", justify="right")
    columns = [one for one in COLUMNS if any(name.endswith(f".{one[0]}") for name in metrics)]
    for _, heading, _ in columns:
        made.add_column(heading, justify="right")
    kind = None
    for row in rows.rows:
        # a line between policies, codecs and recall methods
        this = (row.policy, row.codec is not None and row.policy is None, row.recall is not None)
        if kind is not None and this != kind:
            made.add_section()
        kind = this
        num_bytes = metrics.get(f"{row.name}.stored_bytes", metrics[f"{row.name}.bytes"])
        share = num_bytes / metrics[f"{FULL}.bytes"]
        cells = [_cell(metrics, f"{row.name}.{name}", form) for name, _, form in columns]
        made.add_row(row.name, f"{num_bytes / 1e6:.1f}", f"{share:.0%}", *cells)
    notes = [Text(f"left out: {one}") for one in settings["left_out"]]
    return Group(made, *notes)


def _cell(metrics: Mapping[str, float], name: str, form: str) -> str:
    return form.format(metrics[name]) if name in metrics else ""
