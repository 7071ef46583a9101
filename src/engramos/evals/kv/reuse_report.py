"""The result of a measurement of reuse, and the table of fused pieces."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engramos.evals.kv.fused import fused_table
from engramos.evals.kv.report import about, rounded
from engramos.evals.kv.texts import Texts

COLUMNS = (
    ("ttft_ms", "TTFT ms", "{:,.0f}"),
    ("ttft_ratio", "shorter", "{:.1f}x"),
    ("ttft_cpu_ratio", "CPU", "{:.1f}x"),
    ("identical", "identical", "{:.3f}"),
    ("attach_ms", "attach ms", "{:,.1f}"),
    ("verify_ms", "verify ms", "{:,.1f}"),
    ("read_ms", "read ms", "{:,.1f}"),
    ("attach_overhead_ms", "overhead ms", "{:,.1f}"),
    ("read_mb_per_s", "MB/s", "{:,.0f}"),
)
"""Metric, heading and form of the columns of stored prefixes."""
WAYS = (
    ("passkey", "passkey", "{:.2f}"),
    ("kl", "KL, digits", "{:.4f}"),
    ("kl_text", "KL, text", "{:.4f}"),
    ("cpu_ratio", "CPU", "{:.2f}"),
)
"""The same for ways of fusing."""
_LETTERS = 12_000
"""Of a text for fused pieces, ample for their tokens."""


def fused(engine: Any, texts: Texts, num: int, seed: int) -> dict[str, float]:
    """Return the metrics of fused pieces: `concat.passkey`, `blend15.kl`; none for no samples.

    Args:
        engine: that hosts the model.
        texts: that are cut into pieces.
        num: how many.
        seed: of the texts and the pass keys.
    """
    if not num:
        return {}
    samples = [texts.letters(Random(f"fused {index} {seed}"), _LETTERS) for index in range(num)]
    found = fused_table(engine, samples, seed)
    return {f"{way}.{name}": value for way, row in found.items() for name, value in row.items()}


def result_of(metrics: Mapping[str, float], settings: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """Return the run as one JSON object; `metrics` are flat: `2048.ttft_ratio`, `2048.int8.identical`, `blend15.kl`."""
    return {
        "benchmark": "reuse",
        "method": "full",
        "settings": {**settings, **about(), "asked": settings["samples"], "left_out": list(left_out)},
        "metrics": {name: rounded(value) for name, value in metrics.items()},
    }


def tables(result: Mapping[str, Any]) -> RenderableType:
    """Return the tables that a person reads."""
    settings, metrics = result["settings"], result["metrics"]
    prefixes = [one for one in settings["prefixes"] if f"{one}.ttft_ms" in metrics]
    title = f"reuse: a stored prefix, {settings['text']} text, {settings['threads']} thread(s)"
    made = _table(title, ("prefix", "codec", "MB", "prefill TTFT ms", *(heading for _, heading, _ in COLUMNS)))
    for length in prefixes:
        for codec in ("full", *settings["codecs"]):
            begin = f"{length}." if codec == "full" else f"{length}.{codec}."
            cells = [form.format(metrics[begin + name]) for name, _, form in COLUMNS]
            size, anew = metrics[f"{begin}bytes"] / 1e6, metrics[f"{length}.prefill_ttft_ms"]
            made.add_row(f"{length:,}", codec, f"{size:.1f}", f"{anew:,.0f}", *cells)
        made.add_section()
    shown: list[RenderableType] = [made]
    ways = [name.removesuffix(".cpu_ratio") for name in metrics if name.endswith(".cpu_ratio")]
    if ways:
        second = _table(f"fused pieces, {settings['samples']} texts", ("way", *(heading for _, heading, _ in WAYS)))
        for way in ways:
            second.add_row(way, *(form.format(metrics[f"{way}.{name}"]) for name, _, form in WAYS))
        shown.append(second)
    return Group(*shown, *(Text(f"left out: {one}") for one in settings["left_out"]))


def _table(title: str, headings: Sequence[str]) -> Table:
    made = Table(title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    for place, heading in enumerate(headings):
        made.add_column(heading, justify="right" if place else "left")
    return made
