"""The plot of a measurement of editors: what single edits reach, and what is left of it as edits follow one another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engramos.errors import StoreError, translate
from engramos.evals.parametric.edit import BASE
from engramos.evals.plot import check_installed

SHOWN = ("efficacy", "paraphrase", "neighbourhood", "locality", "locality_text")
FOLLOWED = (("score", "score after edits in sequence"), ("locality_text", "running text unchanged"))
"""What is drawn against the number of edits in sequence, each with its title."""
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31", "#7f7f7f")
"""Colours that the colour-blind tell apart (Okabe and Ito 2008), and two more."""
_MARKERS = "os^Dv<>Xp"
_GREY, _PALE = "#555555", "#d9d9d9"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw single edits by metric, and score and locality against the number of edits in sequence.

    Args:
        result: what `result_of` returned.
        path: whose name ends as `engramos.evals.plot.SUFFIXES`.

    Raises:
        ConfigError, MissingExtraError: see `check_installed`.
        StoreError: if the file cannot be written.
    """
    check_installed(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    metrics, settings = result["metrics"], result["settings"]
    editors = [name for name in settings["methods"] if any(one.startswith(f"{name}.") for one in metrics)]
    lines = [(name, title) for name, title in FOLLOWED if _points(metrics, editors, settings["sequential"], name)]
    num = bool(settings["edits"]) + len(lines)
    with rc_context({"font.size": 9, "svg.hashsalt": "engramos", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.6 * max(1, num), 4.2), layout="constrained", dpi=150)
        title = f"edit: {settings['data_set']}, {Path(settings['model']).name}, {settings['asked']} cases"
        figure.suptitle(title, x=0.01, ha="left")
        axes = list(figure.subplots(1, max(1, num), squeeze=False).flatten())
        if settings["edits"]:
            _single(axes[0], metrics, editors)
        for one, (name, heading) in zip(axes[bool(settings["edits"]) :], lines, strict=False):
            _followed(one, _points(metrics, editors, settings["sequential"], name), heading)
        handles = [axes[0].plot([], [], **_look(place))[0] for place in range(len(editors))]
        if editors:
            figure.legend(handles, editors, loc="outside lower center", ncols=5, frameon=False)
        with translate({OSError: StoreError}, f"writing the plot {path}", next_step="choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _points(
    metrics: Mapping[str, float], editors: Sequence[str], sequential: Sequence[int], name: str
) -> dict[int, list[tuple[int, float]]]:
    """Return by the place of an editor how a metric runs over the edits in sequence; without editors that lack it."""
    found = {
        place: [(num, metrics[f"{one}.seq{num}.{name}"]) for num in sequential if f"{one}.seq{num}.{name}" in metrics]
        for place, one in enumerate(editors)
    }
    return {place: points for place, points in found.items() if points}


def _single(axes: Any, metrics: Mapping[str, float], editors: Sequence[str]) -> None:
    """Draw each metric as a row, with a point for each editor and a tick for the unedited model."""
    shown = [name for name in SHOWN if any(f"{one}.{name}" in metrics for one in editors)]
    for row, name in enumerate(shown):
        if f"{BASE}.{name}" in metrics:
            axes.plot(metrics[f"{BASE}.{name}"], row, marker="|", ms=16, color=_GREY, zorder=2)
        for place, one in enumerate(editors):
            if f"{one}.{name}" in metrics:
                # editors stand a little apart, so that equal ones can be told
                beside = row + 0.12 * (place - (len(editors) - 1) / 2)
                axes.plot(metrics[f"{one}.{name}"], beside, clip_on=False, **_look(place) | {"lw": 0})
    _plain(axes, "single edits (grey: unedited)")
    axes.set(xlim=(0, 1.02), ylim=(len(shown) - 0.4, -0.6))
    axes.set_yticks(range(len(shown)), [name.replace("_", " ") for name in shown])
    axes.grid(axis="x", color=_PALE, lw=0.6)


def _followed(axes: Any, points: Mapping[int, Sequence[tuple[int, float]]], title: str) -> None:
    for place, own in points.items():
        axes.plot([num for num, _ in own], [value for _, value in own], clip_on=False, **_look(place))
    ticks = sorted({num for own in points.values() for num, _ in own})
    _plain(axes, title)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="edits in sequence")
    axes.set_xticks(ticks, [f"{num:,}" for num in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _look(place: int) -> dict[str, Any]:
    return {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)], "ms": 5, "lw": 1.5}


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=_GREY)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PALE)
    axes.tick_params(color=_PALE, labelcolor=_GREY)
    axes.set_axisbelow(True)
