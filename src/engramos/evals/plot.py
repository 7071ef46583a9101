"""The plot of a result: recall by depth, and by category, ours beside the baselines."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engramos.errors import ConfigError, MissingExtraError, StoreError, translate
from engramos.evals.report import methods_of

SUFFIXES = (".png", ".svg", ".pdf")
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#56b4e9", "v"), ("#e69f00", "P"))
"""Colour and marker by method: colours that the colour-blind tell apart (Okabe and Ito 2008)."""
_GREY, _PALE = "#555555", "#d9d9d9"


def check_installed(path: Path) -> None:
    """Check that a plot can be drawn into a file of this name.

    Raises:
        ConfigError: if the name ends with no known format.
        MissingExtraError: if matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"plot {path} has no known format: end its name with {', '.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "evals")


def draw(result: Mapping[str, Any], shown: Sequence[str], groups: Sequence[Sequence[str]], path: Path) -> None:
    """Draw a result into a file: `shown[0]` by depth and by category.

    Where that metric has no depths, the metrics of the first level take the place of the curve.

    Args:
        result: what `result_of` returned.
        shown: metrics of the first level, such as `fraction@10`; at least one.
        groups: the categories that stand together; those within others, `100K.summarization`, are left out.
        path: a file whose name ends with one of `SUFFIXES`; replaced where it is there.

    Raises:
        ConfigError, MissingExtraError: see `check_installed`.
        StoreError: if the file cannot be written.
    """
    check_installed(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    methods = methods_of(result)
    # a category within another, such as 100K.summarization, is for the table: a plot has no room for all of them
    plain = [[name for name in group if "." not in name] for group in groups]
    blocks = [[row for row in (_row(name, shown[0], methods) for name in group) if row] for group in plain]
    blocks = [sorted(block, key=lambda row: row[1][0], reverse=True) for block in blocks if block]
    num_rows = sum(map(len, blocks)) + len(blocks)
    with rc_context({"font.size": 9, "svg.hashsalt": "engramos", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, max(4.2, 1.6 + 0.3 * num_rows)), layout="constrained", dpi=150)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        figure.get_layout_engine().set(wspace=0.06)
        _whole(left, shown[0], methods)
        _dots(right, blocks, f"{shown[0]} by category (number of questions)")
        figure.suptitle(f"{result['benchmark']}, {result['settings']['asked']:,} questions", x=0.01, ha="left")
        lines = [left.plot([], [], color=color, marker=marker, lw=1.6)[0] for color, marker in _looks(len(methods))]
        names = [f"engramos ({result['method']})", *list(methods)[1:]]
        figure.legend(lines, names, loc="outside upper right", ncols=len(names), frameon=False)
        with translate({OSError: StoreError}, f"writing the plot {path}", next_step="choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
            figure.savefig(path, metadata=metadata)


def _looks(num: int) -> list[tuple[str, str]]:
    return [_LOOKS[place % len(_LOOKS)] for place in range(num)]


def _row(category: str, kind: str, methods: Mapping[str, Mapping[str, float]]) -> tuple[str, list[float]] | None:
    own = next(iter(methods.values()))
    if f"{category}.{kind}" not in own:
        return None
    return f"{category} ({own[f'{category}.questions']:,.0f})", [one[f"{category}.{kind}"] for one in methods.values()]


def _whole(axes: Any, kind: str, methods: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the curve over depths of a metric of the first level, or all of that level where it has no depths."""
    own = next(iter(methods.values()))
    measured = [name for name in own if all(name in one for one in methods.values())]
    level = measured[0].rpartition(".")[0]
    stem, _, depth = kind.partition("@")
    prefix = f"{level}.{stem}@" if level else f"{stem}@"
    depths = sorted(int(name.removeprefix(prefix)) for name in measured if name.startswith(prefix))
    if not depth or len(depths) < 2:
        names = [name for name in measured if name.rpartition(".")[0] == level]
        _dots(axes, [[(name, [one[name] for one in methods.values()]) for name in names]], "all questions")
        return
    for (color, marker), metrics in reversed([*zip(_looks(len(methods)), methods.values(), strict=True)]):
        axes.plot(depths, [metrics[f"{prefix}{k}"] for k in depths], color=color, marker=marker, ms=5, lw=1.6)
    for k in depths:
        value = own[f"{prefix}{k}"]
        is_best = all(value >= one[f"{prefix}{k}"] for one in methods.values())
        beside = {"xytext": (0, 6 if is_best else -14), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{value:.3f}", (k, value), **beside, color=_LOOKS[0][0])
    _plain(axes, f"{prefix}k")
    axes.set(ylim=(0, 1.0), xlim=(0, max(depths) * 1.06), xticks=depths, xlabel="k")
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _dots(axes: Any, blocks: Sequence[Sequence[tuple[str, list[float]]]], title: str) -> None:
    """Draw a line of dots for each row, one dot a method; blocks stand apart."""
    place, places, names = 0.0, [], []
    for block in blocks:
        for name, values in block:
            axes.plot([min(values), max(values)], [place, place], color=_PALE, lw=2, zorder=1)
            for (color, marker), value in reversed([*zip(_looks(len(values)), values, strict=True)]):
                axes.scatter(value, place, color=color, marker=marker, s=28, zorder=3, clip_on=False)
            places.append(place)
            names.append(name)
            place += 1
        place += 0.6
    _plain(axes, title)
    axes.set(xlim=(0, 1), yticks=places, yticklabels=names, ylim=(max(place - 0.6, 1) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, pad=7)
    axes.grid(axis="x", color=_PALE, lw=0.6)


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=_GREY)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PALE)
    axes.tick_params(color=_PALE, labelcolor=_GREY)
    axes.set_axisbelow(True)
