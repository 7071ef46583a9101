"""Tables of a result, and the part of README.md that is made of them: `python -m benchmarks.speed.table [--check]`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.child import ROOT

START, END = "<!-- speed:start -->", "<!-- speed:end -->"


def tables(result: dict[str, Any]) -> str:
    """Return a result as Markdown: what it was measured on, engramos beside the floor, then the peers."""
    machine, settings, versions = result["machine"], result["settings"], result["versions"]
    day, commit = result["started_at"][:10], result["commit"]
    at = commit[:12] + commit[40:]
    head = (
        f"Measured {day} at `{at}` on {machine['processor']}, {machine['cores']} cores, "
        f"Python {versions['python']}, SQLite {versions['sqlite']}; size {settings['size']}, seed {settings['seed']}, "
        f"text: {settings['text']}."
    )
    lines = [
        head,
        "",
        "| measure | engramos | floor | ratio | asked | met |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for numbers in result["measures"].values():
        lines += [_row(one) for one in numbers]
    lines += [f"| {name} | failed: {reason} | | | | no |" for name, reason in result["failed"].items()]
    if result.get("peers"):
        lines += ["", *_peers(result["peers"])]
    return "\n".join(lines)


def page_tables(result: dict[str, Any], beside: dict[str, Any]) -> str:
    """Return the tables of a result, and the peers of another one that was measured with them."""
    if result.get("peers") or not beside.get("peers"):
        return tables(result)
    head = (
        f"Peers, measured {beside['started_at'][:10]} at `{beside['commit'][:12]}`, size {beside['settings']['size']}:"
    )
    return "\n".join([tables(result), "", head, "", *_peers(beside["peers"])])


def _row(one: dict[str, Any]) -> str:
    unit = one["unit"]
    words = {"most": f"at most {{}} {unit}", "least": f"at least {{}} {unit}", "most_ratio": "ratio at most {}"}
    asked = ", ".join(words[name].format(figure(bound)) for name, bound in one["asked"].items())
    floor = "" if one["floor"] is None else f"{figure(one['floor'])} {unit}"
    ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
    met = {None: "", True: "yes", False: "**no**"}[one["is_met"]]
    return f"| {one['what']} | {figure(one['value'])} {unit} | {floor} | {ratio} | {asked} | {met} |"


def _peers(peers: list[dict[str, Any]]) -> list[str]:
    sizes = list(dict.fromkeys(size for one in peers for size in one.get("search_p50_ms", {})))
    titles = ["with the same vectors", "add, p50", "batch add", *(f"search among {int(n):,}, p50" for n in sizes)]
    titles += ["adds that outlive kill -9", "what it searches"]
    lines = [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 2)} --- |"]
    for one in peers:
        name = f"{one['name']} {one.get('version', '')}".strip()
        if "failed" in one:
            lines.append(f"| {name} | failed: {one['failed']} |{' |' * (len(titles) - 2)}")
            continue
        batch = "" if one["batch_a_s"] is None else f"{figure(one['batch_a_s'])}/s"
        searches = [f"{figure(p50)} ms" if (p50 := one["search_p50_ms"].get(n)) else "" for n in sizes]
        cells = [name, f"{figure(one['add_p50_ms'])} ms", batch, *searches, one["outlives"], one["searches"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    if value == 0 or abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def within(page: str, made: str, start_mark: str = START, end_mark: str = END) -> str:
    """Return a page with `made` between two markers.

    Raises:
        ValueError: if the page lacks a marker.
    """
    before, start, rest = page.partition(start_mark)
    _, end, after = rest.partition(end_mark)
    if not start or not end:
        raise ValueError(f"the page lacks {start_mark} or {end_mark}: add both, on lines of their own")
    return f"{before}{start_mark}\n{made}\n{end_mark}{after}"


def main() -> int:
    """Write the tables into the page, or with `--check` say whether they are stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.table", description=__doc__)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    parser.add_argument("--peers", type=Path, default=ROOT / "benchmarks" / "results" / "speed-small.json")
    parser.add_argument("--page", type=Path, default=ROOT / "README.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is stale")
    asked = parser.parse_args()
    page = asked.page.read_text(encoding="utf-8")
    result, beside = (json.loads(path.read_text(encoding="utf-8")) for path in (asked.result, asked.peers))
    made = within(page, page_tables(result, beside))
    if not asked.check:
        asked.page.write_text(made, encoding="utf-8")
    elif made != page:
        print(f"{asked.page} is stale: run 'python -m benchmarks.speed.table'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
