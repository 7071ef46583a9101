"""Tables of the committed results on parametric memory: `python -m benchmarks.parametric_table [--check]`.

README.md gets what is asked and what was measured, docs/results.md the tables of every measurement.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.kv_table import _asked, _cell, _head, _line, _table, update

START, END = "<!-- parametric:start -->", "<!-- parametric:end -->"
FILES = ("write", "edit", "edit-memit", "edit-alphaedit", "unlearn", "mqar", "adapters")
MODEL = "SmolLM2-135M-Instruct"
EDITORS = {"edit": ("rome", "grace"), "edit-memit": ("memit",), "edit-alphaedit": ("alphaedit",)}
COMMANDS = {
    "write": f"engramos eval write --model {MODEL} --facts 50",
    **{
        file: f"engramos eval edit --model {MODEL} {' '.join(f'--method {name}' for name in names)} "
        "--edits 10 --sequential 1,10,100"
        for file, names in EDITORS.items()
    },
    "unlearn": f"engramos eval unlearn --model {MODEL} --questions 10 --seed 1",
    "mqar": f"engramos eval mqar --model {MODEL}",
    "adapters": f"python -m benchmarks.adapters --model {MODEL}",
}


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the headline measures as Markdown."""
    lines = [_line(["measure", "measured", "asked", "met"]), "| --- | ---: | ---: | --- |"]
    return "\n".join(lines + [_line(row) for row in _headlines(results)])


def _headlines(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    rows: list[list[str]] = []
    if "write" in results:
        own = results["write"]["metrics"]
        rows += [
            _asked("50 invented facts written and routed: recall, exact", own["recall"], 0.90),
            _asked("the same: wordings that no writer saw", own["paraphrase"], 0.90),
            _asked("the same: false hits on subjects that have no facts", own["false_hits"], 0.05, is_most=True),
            [
                "the same: on other questions about their subjects",
                _cell(own["false_hits_same_subject"]),
                "",
                "",
            ],
            _asked("the same: growth of the perplexity of unrelated text", own["ppl_drift"], 0.02, is_most=True),
            _asked("the same: first tokens of unrelated answers unchanged", own["top1_agreement"], 0.95),
            _asked("the same: CPU seconds of training a fact", own["cpu_s_per_fact"], 1.5, is_most=True),
        ]
        if "forgotten.recall" in own:
            base = own.get("forgotten.base_recall", 0.0)
            rows += [
                _asked(
                    "10 of them forgotten: recall of those; the base model's is the bound",
                    own["forgotten.recall"],
                    base,
                    is_most=True,
                ),
                _asked(
                    "the same: recall of the others, before less after",
                    own["kept.recall_before"] - own["kept.recall"],
                    0.02,
                    is_most=True,
                ),
                _asked("the same: share of exact repairs", own["exact"], 1.0),
            ]
    for file, name in ((file, name) for file, names in EDITORS.items() for name in names):
        if file in results:
            own = results[file]["metrics"]
            if f"{name}.seq100.locality" in own:
                what = f"100 edits one after the other by `{name}`: locality"
                rows.append(_asked(what, own[f"{name}.seq100.locality"], 0.95))
                rows.append(_asked("the same: undone bit for bit", own[f"{name}.seq100.undo_exact"], 1.0))
    if "adapters" in results:
        rows += _adapters(results["adapters"]["metrics"])
    return rows


def _adapters(own: Mapping[str, float]) -> list[list[str]]:
    asked = (
        ("engramos.mixed_ratio", "8 adapters in one batch of 8: CPU time by the base model's", 1.25),
        ("engramos.swap_ms", "other adapters for a batch: ms", 20.0),
    )
    return [_asked(what, own[name], bound, is_most=True) for name, what, bound in asked if name in own]


def details(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of all measurements as Markdown."""
    parts: list[str] = []
    for name in FILES:
        if name in results:
            parts += [*_head(name, COMMANDS[name], results[name]), _metrics(results[name]["metrics"]), ""]
    return "\n".join(parts).rstrip()


def _metrics(own: Mapping[str, float]) -> str:
    """Return flat metrics as tables: a row for each first part of the names that has the same metrics as others."""
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in own.items():
        row, _, metric = name.rpartition(".")
        groups[row][metric] = value
    tables = []
    by_columns: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row, values in groups.items():
        by_columns[tuple(values)].append(row)
    for columns, rows in by_columns.items():
        if len(rows) == 1:
            lines = [[f"{rows[0]}.{name}".lstrip("."), _cell(groups[rows[0]][name])] for name in columns]
            tables.append(_table(["metric", "value"], lines))
        else:
            tables.append(
                _table(["row", *columns], [[row, *(_cell(groups[row][one]) for one in columns)] for row in rows])
            )
    return "\n\n".join(tables)


def main() -> int:
    """Write the tables into the pages, or with `--check` say whether they are stale."""
    return update("benchmarks.parametric_table", __doc__ or "", FILES, (summary, details), (START, END))


if __name__ == "__main__":
    sys.exit(main())
