"""Plots: what writers know beside what they cost, recall by number of pairs, and forgetting against utility."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engramos.evals.kv.plot import _COLORS, _MARKERS, _PALE, _figure, _plain
from engramos.evals.parametric.mqar import Row
from engramos.evals.parametric.unlearn import RETAINED

_BARS = (("recall", "recall"), ("paraphrase", "paraphrase"), ("false_hits_same_subject", "false hits, same subject"))


def draw_write(result: Mapping[str, Any], rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw what each writer knows, its recall against its cost, and, of several rounds, recall after each.

    Args:
        result: what `result_of` returned.
        rows: metrics by writer.
        path: whose name ends as `engramos.evals.plot.SUFFIXES`.

    Raises:
        ConfigError, MissingExtraError: see `check_installed`.
        StoreError: if the file cannot be written.
    """
    rounds = any("after1.recall" in own for own in rows.values())
    with _figure(path, 2 + rounds, _title(result, "facts")) as (_, axes):
        _bars(axes[0], rows)
        for place, (name, own) in enumerate(rows.items()):
            _point(axes[1], place, name, own["cpu_s_per_fact"], own["recall"])
        _plain(axes[1], "recall by the cost of writing")
        axes[1].set(ylim=(-0.02, 1.05), xlabel="CPU seconds a fact")
        axes[1].margins(x=0.25)
        axes[1].legend(frameon=False, loc="lower right")
        axes[1].grid(axis="y", color=_PALE, lw=0.6)
        if rounds:
            _rounds(axes[2], rows)


def draw_mqar(result: Mapping[str, Any], rows: Sequence[Row], path: Path) -> None:
    """Draw the share of values recalled against the number of pairs, one line a writer; as `draw_write`."""
    with _figure(path, 1, _title(result, "")) as (_, axes):
        for place, writer in enumerate(dict.fromkeys(row.writer for row in rows)):
            own = [row for row in rows if row.writer == writer]
            look = {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)], "ms": 5}
            axes[0].plot([row.num_pairs for row in own], [row.accuracy for row in own], label=writer, lw=1.5, **look)
        nums = sorted({row.num_pairs for row in rows})
        _plain(axes[0], "values recalled")
        axes[0].set(ylim=(-0.02, 1.05), xscale="log", xlabel="pairs written at once")
        axes[0].set_xticks(nums, [f"{num:,}" for num in nums])
        axes[0].minorticks_off()
        axes[0].legend(frameon=False)
        axes[0].grid(axis="y", color=_PALE, lw=0.6)


def draw_unlearn(result: Mapping[str, Any], rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw what is left of the forgotten against what is left of the rest, and the truth gaps; as `draw_write`.

    Where the pale lines cross is the adapter that never had the facts: where forgetting should lead.
    """
    with _figure(path, 2, _title(result, "facts")) as (_, axes):
        axes[0].axvline(rows[RETAINED]["forget_rouge"], color=_PALE, lw=1.2, zorder=1)
        axes[0].axhline(rows[RETAINED]["retain_rouge"], color=_PALE, lw=1.2, zorder=1)
        for place, (name, own) in enumerate(rows.items()):
            _point(axes[0], place, name, own["forget_rouge"], own["retain_rouge"])
        _plain(axes[0], "ROUGE-L of what stays")
        axes[0].set(xlim=(-0.02, 1.05), ylim=(-0.02, 1.05), xlabel="ROUGE-L of what is to be forgotten")
        # who keeps what must go and loses what stays would be there: nobody
        axes[0].legend(frameon=False, loc="lower right")
        shown = [(place, name) for place, name in enumerate(rows) if name != RETAINED]
        colors = [_COLORS[place % len(_COLORS)] for place, _ in shown]
        axes[1].barh(range(len(shown)), [rows[name]["truth_gap"] for _, name in shown], color=colors, height=0.6)
        axes[1].set_yticks(range(len(shown)), [name for _, name in shown])
        axes[1].invert_yaxis()
        _plain(axes[1], "truth gap to an adapter that never had the facts")
        axes[1].set(xlabel="nats a token")


def _bars(axes: Any, rows: Mapping[str, Mapping[str, float]]) -> None:
    shown = [(metric, name) for metric, name in _BARS if any(metric in own for own in rows.values())]
    width = 0.8 / len(shown)
    for place, (metric, name) in enumerate(shown):
        at = [number + (place - (len(shown) - 1) / 2) * width for number in range(len(rows))]
        values = [own.get(metric, 0.0) for own in rows.values()]
        axes.bar(at, values, width=width * 0.9, color=_COLORS[place], label=name)
    axes.set_xticks(range(len(rows)), list(rows), rotation=0 if len(rows) < 4 else 30)
    _plain(axes, "questions answered as taught")
    axes.set(ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower right")
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _rounds(axes: Any, rows: Mapping[str, Mapping[str, float]]) -> None:
    num = 0
    for place, (name, own) in enumerate(rows.items()):
        values = [own[f"after{at}.recall"] for at in range(1, len(own)) if f"after{at}.recall" in own]
        num = max(num, len(values))
        look = {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)], "ms": 5}
        axes.plot(range(1, len(values) + 1), values, label=name, lw=1.5, **look)
    _plain(axes, "recall of all facts so far")
    axes.set(ylim=(-0.02, 1.05), xlabel="write", xticks=range(1, num + 1))
    axes.legend(frameon=False, loc="lower right")
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _point(axes: Any, place: int, name: str, x: float, y: float) -> None:
    look = {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)]}
    axes.scatter(x, y, s=40, zorder=3, clip_on=False, label=name, alpha=0.8, **look)


def _title(result: Mapping[str, Any], what: str) -> str:
    settings = result["settings"]
    many = f", {settings['asked']} {what}" if what else ""
    return f"{result['benchmark']}: {Path(settings['model']).name}, {settings['dtype']}{many}"
