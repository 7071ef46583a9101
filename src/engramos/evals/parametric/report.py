"""Results of writing, recall of pairs and unlearning: one object for machines, tables for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engramos.evals.kv.report import about, rounded
from engramos.evals.parametric.mqar import Row
from engramos.evals.parametric.write import Measured
from engramos.parametric.facts import Fact

_SHARE, _NUMBER, _PERCENT = "{:.2f}", "{:.3f}", "{:+.1%}"
Columns = Sequence[tuple[str, str, str]]
"""Metric, heading and form of the columns after the row's name."""
WRITE: Columns = (
    ("recall", "recall", _SHARE),
    ("trained_paraphrase", "trained para.", _SHARE),
    ("paraphrase", "paraphrase", _SHARE),
    ("false_hits", "false hits", _SHARE),
    ("false_hits_same_subject", "same subject", _SHARE),
    ("ppl_drift", "ppl", _PERCENT),
    ("top1_agreement", "top-1", _SHARE),
    ("ppl_drift_on", "ppl on", _PERCENT),
    ("top1_agreement_on", "top-1 on", _SHARE),
    ("cpu_s_per_fact", "CPU s/fact", _SHARE),
    ("probe_cpu_s_per_fact", "probe s/fact", _SHARE),
    ("mb_per_fact", "MB/fact", _NUMBER),
    ("active", "active", _SHARE),
    ("backward_transfer", "transfer", "{:+.2f}"),
    ("forgotten.recall", "forgotten", _SHARE),
    ("kept.recall_before", "kept before", _SHARE),
    ("kept.recall", "kept after", _SHARE),
    ("exact", "exact", "{:.0f}"),
    ("forget_cpu_s", "forget s", "{:.1f}"),
)
UNLEARN: Columns = (
    ("forget_recall", "forget: recall", _SHARE),
    ("forget_rouge", "ROUGE-L", _SHARE),
    ("forget_probability", "probability", _SHARE),
    ("truth_gap", "truth gap", _SHARE),
    ("forget_quality", "quality", _SHARE),
    ("extraction_strength", "extraction", _SHARE),
    ("membership_auc", "AUC", _SHARE),
    ("retain_recall", "retain: recall", _SHARE),
    ("retain_rouge", "ROUGE-L", _SHARE),
    ("retain_probability", "probability", _SHARE),
    ("authors_agreement", "authors", _SHARE),
    ("world_agreement", "world", _SHARE),
    ("utility", "utility", _SHARE),
    ("cpu_s", "CPU s", "{:.1f}"),
)
MQAR: Columns = (
    ("accuracy", "accuracy", _SHARE),
    ("cpu_s_per_pair", "CPU s/pair", _NUMBER),
    ("kb_per_pair", "kB/pair", "{:.1f}"),
)


def result_of(
    benchmark: str, method: str, metrics: Mapping[str, float], settings: Mapping[str, Any], left_out: Sequence[str]
) -> dict[str, Any]:
    """Return a result as one JSON object, with the program, the commit and the versions."""
    return {
        "benchmark": benchmark,
        "method": method,
        "settings": {**settings, **about(), "left_out": list(left_out)},
        "metrics": {name: rounded(value) for name, value in metrics.items()},
    }


def write_metrics(measured: Mapping[str, Measured], default: str) -> dict[str, float]:
    """Return flat metrics: those of the default writer by their names, and of several each with the writer's before."""
    found = dict(measured[default].metrics)
    if len(measured) > 1:
        found |= prefixed({name: one.metrics for name, one in measured.items()})
    return found


def prefixed(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of rows in one table, each with its row's name before it."""
    return {f"{row}.{name}": value for row, own in rows.items() for name, value in own.items()}


def mqar_metrics(rows: Sequence[Row]) -> dict[str, float]:
    """Return flat metrics: `lora.64.accuracy`, `lora.64.cpu_s_per_pair`, `lora.64.kb_per_pair`."""
    return prefixed(
        {
            f"{row.writer}.{row.num_pairs}": {
                "accuracy": row.accuracy,
                "cpu_s_per_pair": row.seconds_a_pair,
                "kb_per_pair": row.bytes_a_pair / 1000,
            }
            for row in rows
        }
    )


def lines_of(result: Mapping[str, Any], measured: Mapping[str, Measured], facts: Sequence[Fact]) -> Iterator[str]:
    """Yield the lines of a file of outcomes, which `engramos eval compare` reads: a writer is a method.

    A fact is told by its digest, and its relation is its category.
    """
    columns = list(dict.fromkeys(name for one in measured.values() for own in one.by_fact.values() for name in own))
    head = {key: result[key] for key in ("benchmark", "method", "settings")}
    yield json.dumps(head | {"columns": columns}) + "\n"
    for fact in facts:
        own = {name: one.by_fact[fact.id] for name, one in measured.items()}
        line = {
            "question": fact.id,
            "categories": [fact.relation] if fact.relation else [],
            "metrics": {name: [values.get(column) for column in columns] for name, values in own.items()},
        }
        yield json.dumps(line, separators=(",", ":")) + "\n"


def table(
    title: str, heading: str, rows: Mapping[str, Mapping[str, float]], columns: Columns, notes: Sequence[str] = ()
) -> RenderableType:
    """Return the table that a person reads, and what was left out.

    Args:
        title: above it.
        heading: of the first column.
        rows: metrics by the row's name; a column that no row has is not there.
        columns: what is shown.
        notes: one line each, below.
    """
    made = Table(title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    made.add_column(heading, no_wrap=True)
    shown = [one for one in columns if any(one[0] in own for own in rows.values())]
    for _, name, _ in shown:
        made.add_column(name, justify="right")
    for name, own in rows.items():
        made.add_row(name, *(form.format(own[metric]) if metric in own else "" for metric, _, form in shown))
    return Group(made, *(Text(f"left out: {one}") for one in notes))
