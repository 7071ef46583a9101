"""The recall table of README.md, of a result of `engramos eval`: `python -m benchmarks.recall_table [--check]`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.table import within

ROOT = Path(__file__).parents[1]
START, END = "<!-- locomo:start -->", "<!-- locomo:end -->"
COLUMNS = ("turn.fraction@5", "turn.fraction@10", "turn.fraction@20", "turn.any@10", "session.fraction@10")
CATEGORIES = ("single-hop", "multi-hop", "temporal", "open-domain", "adversarial")


def tables(result: dict[str, Any]) -> str:
    """Return a result as Markdown: ours and the baselines of the same run, then by category."""
    settings = result["settings"]
    rows = {"engramos": result["metrics"], **result["baselines"]}
    columns = [*COLUMNS, *(f"{name}.fraction@10" for name in CATEGORIES)]
    heads = [*COLUMNS, *CATEGORIES]
    lines = [
        f"{settings['asked']:,} questions, at `{settings['commit'][:12]}`; the last five columns are turn.fraction@10 "
        "of one category. The weights of the default plan were chosen on these questions; "
        "[held-out figures](docs/decisions/0007-hybrid-search.md) are a little lower.",
        "",
        f"| | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(heads)}",
    ]
    for name, metrics in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{metrics[column]:.3f}' for column in columns)} |")
    return "\n".join(lines)


def main() -> int:
    """Write the tables into the page, or with `--check` say whether they are stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall_table", description=__doc__)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "locomo.json")
    parser.add_argument("--page", type=Path, default=ROOT / "README.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is stale")
    asked = parser.parse_args()
    page = asked.page.read_text(encoding="utf-8")
    made = within(page, tables(json.loads(asked.result.read_text(encoding="utf-8"))), START, END)
    if not asked.check:
        asked.page.write_text(made, encoding="utf-8")
    elif made != page:
        print(f"{asked.page} is stale: run 'python -m benchmarks.recall_table'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
