"""The result of a measurement of editors: one object for machines, a table for people, outcomes as JSON lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engramos.evals.kv.report import about, rounded
from engramos.evals.parametric.edit import BASE, Outcome, Run

_SHARE = "{:.2f}"
COLUMNS = (
    ("efficacy", "efficacy", _SHARE),
    ("efficacy_exact", "exact", _SHARE),
    ("paraphrase", "paraphrase", _SHARE),
    ("paraphrase_exact", "exact", _SHARE),
    ("neighbourhood", "neighbourhood", _SHARE),
    ("score", "score", _SHARE),
    ("locality", "locality", _SHARE),
    ("locality_text", "text", "{:.3f}"),
    ("ppl_drift", "ppl drift", "{:+.1%}"),
    ("cpu_s_per_edit", "CPU s", "{:.2f}"),
    ("kb_per_edit", "kB", "{:,.1f}"),
    ("undo_exact", "undone", _SHARE),
    ("failed", "failed", "{:.0f}"),
)
"""Metric, heading and form of the table's columns."""


def result_of(run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run as one JSON object; `metrics` are flat: `base.efficacy`, `rome.score`, `rome.seq100.locality`."""
    metrics = {f"{one.name}.{name}": rounded(value) for one in run.outcomes for name, value in one.metrics().items()}
    asked = len(run.outcomes[0].cases)
    return {
        "benchmark": "edit",
        "method": BASE,
        "settings": {**settings, **about(), "asked": asked, "left_out": list(run.left_out)},
        "metrics": metrics,
    }


def lines_of(result: Mapping[str, Any], run: Run) -> Iterator[str]:
    """Yield the lines of a file of outcomes, which `engramos eval compare` reads: a row of the table is a method."""
    columns = list(dict.fromkeys(name for one in run.outcomes for case in one.cases.values() for name in case))
    head = {key: result[key] for key in ("benchmark", "method", "settings")}
    yield json.dumps(head | {"columns": columns}) + "\n"
    for case in run.outcomes[0].cases:
        values = {one.name: _values(one, case, columns) for one in run.outcomes}
        line = {"question": case, "categories": [case.partition("-")[0]], "metrics": values}
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _values(outcome: Outcome, case: str, columns: Sequence[str]) -> list[float | None]:
    found = outcome.cases.get(case, {})
    return [found.get(column) for column in columns]


def table(result: Mapping[str, Any]) -> RenderableType:
    """Return the table that a person reads, and what it leaves out."""
    settings, metrics = result["settings"], result["metrics"]
    rows = list(dict.fromkeys(name.rpartition(".")[0] for name in metrics))
    title = f"edit: {settings['data_set']}, {settings['asked']} cases, {settings['threads']} thread(s)"
    made = Table(title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    made.add_column("editor", no_wrap=True)
    columns = [one for one in COLUMNS if any(name.endswith(f".{one[0]}") for name in metrics)]
    for _, heading, _ in columns:
        made.add_column(heading, justify="right")
    kind = ""
    for row in rows:
        # a line between editors
        if kind and row.partition(".")[0] != kind:
            made.add_section()
        kind = row.partition(".")[0]
        made.add_row(row, *(_cell(metrics, f"{row}.{name}", form) for name, _, form in columns))
    return Group(made, *(Text(f"left out: {one}") for one in settings["left_out"]))


def _cell(metrics: Mapping[str, float], name: str, form: str) -> str:
    return form.format(metrics[name]) if name in metrics else ""
