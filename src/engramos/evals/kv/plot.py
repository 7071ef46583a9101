"""The plots: accuracy against what is kept, divergence against bits, and time to the first token against length."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engramos.errors import StoreError, translate
from engramos.evals.kv.rows import FULL, Row, Rows, of_policies
from engramos.evals.plot import check_installed

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31", "#7f7f7f")
"""Colours that the colour-blind tell apart (Okabe and Ito 2008), and two more."""
_MARKERS = "os^Dv<>Xp"
_GREY, _PALE = "#555555", "#d9d9d9"


def draw_kv(result: Mapping[str, Any], rows: Rows, path: Path) -> None:
    """Draw pass keys and RULER against the kept share of the bytes, and the codecs' divergence against their bits.

    Args:
        result: what `result_of` returned.
        rows: that were measured.
        path: whose name ends as `engramos.evals.plot.SUFFIXES`.

    Raises:
        ConfigError, MissingExtraError: see `check_installed`.
        StoreError: if the file cannot be written.
    """
    metrics = result["metrics"]
    shown = [("passkey", "pass keys right, question not known")]
    if any(name.endswith(".aware_passkey") for name in metrics):
        shown.append(("aware_passkey", "pass keys right, question known"))
    if f"{FULL}.ruler" in metrics:
        shown.append(("ruler", "RULER-style tasks"))
    shown = [(name, title) for name, title in shown if any(one.endswith(f".{name}") for one in metrics)]
    codecs = [row for row in rows.rows if row.codec is not None and row.policy is None and f"{row.name}.kl" in metrics]
    with _figure(path, len(shown) + bool(codecs), _title(result)) as (figure, axes):
        for one, (name, title) in zip(axes, shown, strict=False):
            _kept(one, metrics, rows, name, title)
        if codecs:
            _bits(axes[-1], metrics, codecs)
        if shown:
            _name_methods(figure, axes[0], rows)


def draw_reuse(result: Mapping[str, Any], path: Path) -> None:
    """Draw the time to the first token with and without a stored prefix, and the ways of fusing; as `draw_kv`."""
    metrics = result["metrics"]
    prefixes = [one for one in result["settings"]["prefixes"] if f"{one}.ttft_ms" in metrics]
    ways = [name.removesuffix(".cpu_ratio") for name in metrics if name.endswith(".cpu_ratio")]
    with _figure(path, bool(prefixes) + bool(ways), _title(result)) as (_, axes):
        if prefixes:
            _lengths(axes[0], metrics, prefixes, result["settings"]["codecs"])
        if ways:
            _ways(axes[-1], metrics, ways)


@contextmanager
def _figure(path: Path, num: int, title: str) -> Iterator[tuple[Any, list[Any]]]:
    """Yield a figure with axes in two columns, and write it to a file at the end."""
    check_installed(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "svg.hashsalt": "engramos", "svg.fonttype": "none"}):
        rows, columns = -(-max(1, num) // 2), min(2, max(1, num))
        figure = Figure(figsize=(5.0 * columns, 3.9 * rows + 0.6), layout="constrained", dpi=150)
        figure.suptitle(title, x=0.01, ha="left")
        every = figure.subplots(rows, columns, squeeze=False).flatten()
        for left in every[num:]:
            left.set_axis_off()
        yield figure, list(every[:num])
        with translate({OSError: StoreError}, f"writing the plot {path}", next_step="choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
            figure.savefig(path, metadata=metadata)


def _title(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    return f"{result['benchmark']}: {Path(settings['model']).name}, {settings['dtype']}, {settings['asked']} samples"


def _kept(axes: Any, metrics: Mapping[str, float], rows: Rows, name: str, title: str) -> None:
    """Draw one metric against the share of the full cache's bytes, one line a policy, one point a recall method."""
    whole = metrics[f"{FULL}.bytes"]
    full = metrics.get(f"{FULL}.{name}", metrics.get(f"{FULL}.passkey", 0.0))
    axes.axhline(full, color=_PALE, lw=1.2, zorder=1)
    axes.annotate("full cache", (1.0, full), xytext=(0, 4), textcoords="offset points", ha="right", color=_GREY)
    for place, (_, own) in enumerate(_methods(rows)):
        points = _points(metrics, own, name, whole)
        # lines without a point would break the layout
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, clip_on=False, zorder=3, **_look(place, own))
    _plain(axes, title)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the full cache's bytes")
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _methods(rows: Rows) -> list[tuple[str, list[Row]]]:
    """Return each policy and each recall method with its rows."""
    recalls = [(row.name.partition(".")[0], [row]) for row in rows.rows if row.recall is not None]
    return [*of_policies(rows.rows, rows.policy_names), *recalls]


def _look(place: int, rows: Sequence[Row]) -> dict[str, Any]:
    """Return how a method is drawn: policies as lines, recall methods as stars."""
    color, marker = _COLORS[place % len(_COLORS)], _MARKERS[place % len(_MARKERS)]
    if rows and rows[0].recall is not None:
        return {"color": color, "marker": "*", "ms": 12, "mec": "white", "lw": 0}
    return {"color": color, "marker": marker, "ms": 5, "lw": 1.5}


def _name_methods(figure: Any, axes: Any, rows: Rows) -> None:
    methods = _methods(rows)
    lines = [axes.plot([], [], **_look(place, own))[0] for place, (_, own) in enumerate(methods)]
    if methods:
        figure.legend(lines, [name for name, _ in methods], loc="outside lower center", ncols=5, frameon=False)


def _points(metrics: Mapping[str, float], rows: Sequence[Row], name: str, whole: float) -> list[tuple[float, float]]:
    named = [row.name for row in rows if f"{row.name}.{name}" in metrics]
    return sorted((metrics[f"{one}.bytes"] / whole, metrics[f"{one}.{name}"]) for one in named)


def _bits(axes: Any, metrics: Mapping[str, float], rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        bits, divergence = metrics[f"{row.name}.bits"], max(metrics[f"{row.name}.kl"], 1e-8)
        axes.scatter(bits, divergence, color=_COLORS[place % len(_COLORS)], s=36, zorder=3)
        beside = {"xytext": (6, 4), "textcoords": "offset points", "color": _GREY}
        axes.annotate(row.name, (bits, divergence), **beside)
    _plain(axes, "codecs over the full cache")
    axes.set(yscale="log", xlabel="bits a value", ylabel="KL to the full cache (nats)")
    axes.margins(x=0.25, y=0.15)
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _lengths(axes: Any, metrics: Mapping[str, float], prefixes: Sequence[int], codecs: Sequence[str]) -> None:
    lines = [("prefill", "prefill_ttft_ms"), ("stored", "ttft_ms")]
    lines += [(f"stored, {one}", f"{one}.ttft_ms") for one in codecs]
    for place, (label, name) in enumerate(lines):
        points = [(one, metrics[f"{one}.{name}"]) for one in prefixes if f"{one}.{name}" in metrics]
        look = {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)]}
        axes.plot([x for x, _ in points], [y for _, y in points], lw=1.5, ms=5, label=label, **look)
    for one in prefixes:
        ratio = f"{metrics[f'{one}.ttft_ratio']:.0f}x"
        beside = {"xytext": (0, -13), "textcoords": "offset points", "ha": "center", "color": _COLORS[1]}
        axes.annotate(ratio, (one, metrics[f"{one}.ttft_ms"]), **beside)
    _plain(axes, "time to the first token (ms)")
    axes.set(xscale="log", yscale="log", xlabel="tokens of the prefix", xticks=list(prefixes))
    axes.set_xticks(list(prefixes), [f"{one:,}" for one in prefixes])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper left")
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _ways(axes: Any, metrics: Mapping[str, float], ways: Sequence[str]) -> None:
    """Draw each way's divergence against its CPU time, named with its share of pass keys; the full prefill is 1, 0."""
    drawn = sorted((way for way in ways if metrics[f"{way}.kl"] > 0.0), key=lambda way: metrics[f"{way}.kl"])
    for place, way in enumerate(drawn):
        x, y = metrics[f"{way}.cpu_ratio"], metrics[f"{way}.kl"]
        axes.scatter(x, y, color=_COLORS[place % len(_COLORS)], s=40, zorder=3, clip_on=False)
        # names of near neighbours stand above and below
        beside = {"xytext": (7, 5 if place % 2 else -12), "textcoords": "offset points", "color": _GREY}
        axes.annotate(f"{way}: {metrics[f'{way}.passkey']:.0%}", (x, y), **beside)
    right = metrics.get(f"{FULL}.passkey")
    known = "" if right is None else f"; full prefill: {right:.0%}"
    _plain(axes, f"fused pieces, with the share of pass keys right{known}")
    label = {"xlabel": "CPU time by that of the full prefill", "ylabel": "KL to the full prefill (nats)"}
    axes.set(xlim=(-0.02, 1.0), yscale="log" if drawn else "linear", **label)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=_PALE, lw=0.6)


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=_GREY)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PALE)
    axes.tick_params(color=_PALE, labelcolor=_GREY)
    axes.set_axisbelow(True)
