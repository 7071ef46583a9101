"""What each step of the default plan adds last: recall by benchmark with one step left out.

python -m benchmarks.ablate_plan --data DIR --vectors FOLDER --out benchmarks/results/ablation.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from benchmarks.tune_plan import AIMS, asked_of, recalls

from engramos.config import load
from engramos.evals.report import commit
from engramos.plaintext.plan import DEFAULT


def main() -> None:
    """Measure the whole plan, equal weights, and the plan without each step; print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablate_plan", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=load().data)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ablation.json"))
    given = parser.parse_args()
    sets = [asked_of(aim, given.data, given.vectors) for aim in AIMS]
    weights = np.array([step.weight for step in DEFAULT.steps], np.float32)
    rows = {"the whole plan": recalls(sets, weights), "equal weights": recalls(sets, np.ones_like(weights))}
    for at, step in enumerate(DEFAULT.steps):
        without = weights.copy()
        without[at] = 0
        rows[f"without `{step.name}`"] = recalls(sets, without)
    given.out.write_text(
        json.dumps({"commit": commit(), "aims": [vars(aim) for aim in AIMS], "rows": rows}, indent=1) + "\n",
        encoding="utf-8",
    )
    print("| |" + "".join(f" {aim.benchmark} {aim.part} |" for aim in AIMS))
    print("| --- |" + " --- |" * len(AIMS))
    for name, row in rows.items():
        print(f"| {name} |" + "".join(f" {' '.join(f'{value:.3f}' for value in one)} |" for one in row))


if __name__ == "__main__":
    main()
