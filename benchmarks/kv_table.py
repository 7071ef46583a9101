"""Tables of the committed results on KV caches: `python -m benchmarks.kv_table [--check]`.

README.md gets what is asked and what was measured, docs/results.md the tables of every measurement.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.table import within

ROOT = Path(__file__).parents[1]
START, END = "<!-- kv:start -->", "<!-- kv:end -->"
Made = Callable[[Mapping[str, Mapping[str, Any]]], str]
"""From results to Markdown."""
FILES = ("kv", "reuse", "kvpress_beside", "kvboost_beside", "kv_codecs", "kv_stream")
KV_COLUMNS = ("passkey", "digits", "follow_up", "ruler", "kl", "ppl", "bytes", "compress_cpu_ms")
REUSE_COLUMNS = ("ttft_ratio", "ttft_cpu_ratio", "identical", "attach_ms", "attach_overhead_ms", "verify_ms")
FUSED_COLUMNS = ("passkey", "kl", "kl_text", "cpu_ratio")


def read_results(folder: Path, names: Sequence[str] = FILES) -> dict[str, dict[str, Any]]:
    """Return those of the named results that a folder holds, by name."""
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the headline measures as Markdown."""
    lines = [_line(["measure", "measured", "asked", "met"]), "| --- | ---: | ---: | --- |"]
    lines += [_line(row) for row in _headlines(results)]
    return "\n".join(lines)


def _headlines(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    rows: list[list[str]] = []
    if "reuse" in results:
        own = results["reuse"]["metrics"]
        rows += [
            _asked("time to the first token with a stored prefix of 2,048: times shorter", own["2048.ttft_ratio"], 15),
            _asked("the same: share of greedy tokens that are those of a full prefill", own["2048.identical"], 1.0),
            _asked("attaching it, over the reading of its bytes: ms", own["2048.attach_overhead_ms"], 5, is_most=True),
            _asked("pieces fused, 15 % computed again: pass keys", own["blend15.passkey"], own["full.passkey"]),
            _asked("the same: KL", own["blend15.kl"], 0.03, is_most=True),
            _asked("the same: CPU time by that of a full prefill", own["blend15.cpu_ratio"], 0.30, is_most=True),
            _asked("pieces put side by side: pass keys", own["concat.passkey"], 0.0, is_most=True),
        ]
    if "kv" in results:
        own = results["kv"]["metrics"]
        best = max((name for name in own if name.endswith(".kept25.passkey")), key=lambda name: own[name])
        recalled = next(name for name in own if name.endswith(".resident25.passkey"))
        share = own[recalled] / own["full.passkey"]
        digits = own[recalled.replace("passkey", "digits")] / own["full.digits"]
        rows += [
            _asked("a quarter of the bytes at hand, the rest recalled: pass keys by the full cache's", share, 0.95),
            _asked("the same: their digits by the full cache's", digits, 0.95),
            [
                f"a quarter of the tokens kept, the best policy (`{best.split('.')[0]}`): pass keys; of the full cache "
                f"{own['full.passkey']:.3f}",
                f"{own[best]:.3f}",
                "",
                "",
            ],
            _asked("int8: KL at 8.25 bits a value", own["int8.kl"], 2e-4, is_most=True),
            _asked("int4: KL at 5 bits", own["int4.kl"], 6e-3, is_most=True),
            _asked("rotated: KL at 3.25 bits", own["rotated.kl"], 0.04, is_most=True),
        ]
    if "kv_stream" in results:
        own = results["kv_stream"]
        growth = own["rss_growth_bytes"] / 1e6
        rows += [
            _asked(
                f"a stream of {own['rows'][-1]['tokens']:,} tokens in {own['settings']['budget']}, model "
                f"`{own['model']}`: speed of the last tenth by the second's",
                own["last_by_second_tenth_speed"],
                0.9,
            ),
            ["the same: growth of the process's memory", f"{growth:.0f} MB", "flat", ""],
        ]
    return rows


def _asked(what: str, measured: float, asked: float, *, is_most: bool = False) -> list[str]:
    is_met = measured <= asked if is_most else measured >= asked
    return [
        what,
        _number(measured),
        f"at {'most' if is_most else 'least'} {_number(asked)}",
        "yes" if is_met else "**no**",
    ]


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def details(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all tables as Markdown."""
    parts: list[str] = []
    if "kv" in results:
        parts += _kv(results["kv"])
    if "reuse" in results:
        parts += _reuse(results["reuse"])
    if "kvpress_beside" in results:
        parts += _kvpress(results["kvpress_beside"])
    if "kvboost_beside" in results:
        parts += _kvboost(results["kvboost_beside"])
    if "kv_codecs" in results:
        parts += _codecs(results["kv_codecs"])
    if "kv_stream" in results:
        parts += _stream(results["kv_stream"])
    return "\n\n".join(parts)


def _head(name: str, command: str, result: Mapping[str, Any]) -> list[str]:
    settings = result.get("settings", {})
    commit, at = result.get("commit") or settings.get("commit", ""), result.get("at") or settings.get("at", "")
    when = f" at `{commit[:12]}` on {at[:10]}" if commit else ""
    return [f"## {name}", f"`{command}`{when}."]


def _kv(result: Mapping[str, Any]) -> list[str]:
    own = result["metrics"]
    rows = list(dict.fromkeys(name.rpartition(".")[0] for name in own if "@" not in name))
    lengths = sorted({int(name.rpartition("@")[2]) for name in own if "@" in name})
    tables = [_table(["cache", *KV_COLUMNS], [[row, *_values(own, row, KV_COLUMNS)] for row in rows])]
    for length in lengths:
        columns = [f"{name}@{length}" for name in KV_COLUMNS[:5]]
        tables.append(_table([f"at {length:,} tokens", *columns], [[row, *_values(own, row, columns)] for row in rows]))
    return [*_head("KV caches, compressed", "engramos eval kv", result), *tables]


def _reuse(result: Mapping[str, Any]) -> list[str]:
    own = result["metrics"]
    heads = list(dict.fromkeys(name.rpartition(".")[0] for name in own))
    prefixes = [name for name in heads if name.partition(".")[0].isdigit()]
    fused = [name for name in heads if f"{name}.passkey" in own]
    return [
        *_head("KV caches, used again", "engramos eval reuse", result),
        _table(["stored prefix", *REUSE_COLUMNS], [[one, *_values(own, one, REUSE_COLUMNS)] for one in prefixes]),
        _table(["pieces", *FUSED_COLUMNS], [[one, *_values(own, one, FUSED_COLUMNS)] for one in fused]),
    ]


def _kvpress(result: Mapping[str, Any]) -> list[str]:
    rows = [[name, str(one["equal"]), str(one["sets"])] for name, one in result["policies"].items()]
    head = _head("The tokens that kvpress keeps", "python -m benchmarks.kvpress_beside", result)
    return [*head, _table(["policy", "equal sets", "sets"], rows)]


def _kvboost(result: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{one['equal']} of {one['of']}",
            f"{one['cost']:.2f}",
            _number(one["reused"]) if "reused" in one else "",
        ]
        for name, one in result["table"].items()
    ]
    heads = ["way", "warm answers equal to cold ones", "CPU time by a cold call's", "tokens reused"]
    return [*_head("Beside KVBoost", "python -m benchmarks.kvboost_beside", result), _table(heads, rows)]


def _codecs(result: Mapping[str, Any]) -> list[str]:
    rows = result["rows"]
    columns = [name for name in rows[0] if name not in ("codec", "name")]
    first = "codec" if "codec" in rows[0] else "name"
    table = _table(
        ["codec", *columns], [[str(row[first]), *(_cell(row.get(name)) for name in columns)] for row in rows]
    )
    return [*_head("Codecs", "python -m benchmarks.kv_codecs", result), table]


def _stream(result: Mapping[str, Any]) -> list[str]:
    columns = list(result["rows"][0])
    rows = [[_cell(row[name]) for name in columns] for row in result["rows"]]
    return [*_head("An endless stream", "python -m benchmarks.kv_stream", result), _table(columns, rows)]


def _cell(value: Any) -> str:
    return _number(value) if isinstance(value, int | float) else str(value or "")


def _values(own: Mapping[str, float], row: str, columns: Sequence[str]) -> list[str]:
    return [_number(own[f"{row}.{name}"]) if f"{row}.{name}" in own else "" for name in columns]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_line(heads), f"| --- |{' ---: |' * (len(heads) - 1)}", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def update(name: str, told: str, files: Sequence[str], made: tuple[Made, Made], marks: tuple[str, str]) -> int:
    """Write tables between marks into the pages, or with `--check` say by 1 that a page is stale.

    Args:
        name: of the module that is run.
        told: what it does, for `--help`.
        files: names of the results.
        made: of the results: what README.md gets, and what docs/results.md gets.
        marks: lines before and after the tables.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=told)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder with NAME.json")
    parser.add_argument("--pages", type=Path, default=ROOT, help="folder with README.md and docs/results.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    asked = parser.parse_args()
    results = read_results(asked.results, files)
    is_stale = False
    for page, make in zip(("README.md", "docs/results.md"), made, strict=True):
        path = asked.pages / page
        before = path.read_text(encoding="utf-8")
        after = within(before, make(results), *marks)
        if not asked.check:
            path.write_text(after, encoding="utf-8")
        elif after != before:
            is_stale = True
            print(f"{path} is stale: run 'python -m {name}'", file=sys.stderr)
    return int(is_stale)


def main() -> int:
    """Write the tables into the pages, or with `--check` say whether they are stale."""
    return update("benchmarks.kv_table", __doc__ or "", FILES, (summary, details), (START, END))


if __name__ == "__main__":
    sys.exit(main())
