"""Adapters on a real model: what a mixed batch, a swap and an attachment cost, and what 200 of them weigh.

`python -m benchmarks.adapters --model DIR [--out FILE]` answers eight prompts with the base model, with one adapter for
all, and with one for each; then `benchmarks.adapters_peer` does the same with peft in a process of its own. Times are
CPU seconds of the process on one thread, the best of `--times` runs, each way in turn. Adapters are random, of the
default writer's size.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.stamp import stamp

from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.model import KINDS, BaseModel

QUESTION = "Where does {} work, and since when? Answer with the name of the place and the year, please."
NAMES = ("Ana", "Bruno", "Carla", "Diego", "Elena", "Fabio", "Greta", "Hugo")
NUM_REGISTERED = 200
RANK, LAYERS = 8, 6


def drawn(base: BaseModel, seed: int) -> LowRank:
    """Return a random adapter that changes little, so that answers keep their length."""
    random = torch.Generator().manual_seed(seed)
    down, up = {}, {}
    for layer in range(base.num_layers - LAYERS, base.num_layers):
        for kind in KINDS:
            name = base.linear(layer, kind)
            rows, columns = base.module(name).weight.shape
            down[name] = torch.randn((RANK, columns), generator=random) * 0.01
            up[name] = torch.randn((rows, RANK), generator=random) * 0.01
    return LowRank(down, up, 2.0)


def cpu_s(act: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    began = time.process_time()
    act()
    return time.process_time() - began


def rss_bytes() -> int:
    """Return what the process holds in memory now, or where that is not told, the most that it has held."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(model: Transformers, num_tokens: int, times: int) -> dict[str, float]:
    """Return all numbers of our side."""
    # it reads every weight once, so that what is mapped from files is in memory before it is weighed
    base = model.base
    before = rss_bytes()
    made = [drawn(base, seed) for seed in range(NUM_REGISTERED)]
    own = sum(one.num_bytes for one in made)
    row: dict[str, float] = {"registered": NUM_REGISTERED, "adapter_bytes": own, "rss_bytes": rss_bytes() - before}
    attach = [cpu_s(lambda one=one: model.adapted([one])) for one in made[:16]]
    row["attach_ms"] = 1000 * min(attach)
    ids = [model.chat_tokens([{"role": "user", "content": QUESTION.format(name)}]) for name in NAMES]
    sampling = Sampling(max_tokens=num_tokens)
    ways: dict[str, list[LowRank | None]] = {
        "base_s": [None] * len(ids),
        "one_s": [made[0]] * len(ids),
        "mixed_s": list(made[: len(ids)]),
    }
    answer = {
        name: (lambda chosen=chosen: model.generate_batch(ids, sampling, chosen)) for name, chosen in ways.items()
    }
    for act in answer.values():
        act()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, act in answer.items():
            found[name].append(cpu_s(act))
    row |= {name: min(numbers) for name, numbers in found.items()}
    engines = [model.adapted([one]) for one in made[:2]]
    row["swap_ms"] = 1000 * min(cpu_s(lambda one=one: one.new_cache()) for one in engines * 5)
    return row | {"one_ratio": row["one_s"] / row["base_s"], "mixed_ratio": row["mixed_s"] / row["base_s"]}


def beside(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the numbers of peft, measured in a process of its own."""
    given = ["--model", str(arguments.model), "--tokens", str(arguments.tokens), "--times", str(arguments.times)]
    command = [sys.executable, "-m", "benchmarks.adapters_peer", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a folder that transformers loads")
    parser.add_argument("--out", type=Path, help="where the numbers go, as JSON")
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--times", type=int, default=3, help="runs of each way")
    parser.add_argument("--alone", action="store_true", help="without peft")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours = measure(Transformers(str(arguments.model)), arguments.tokens, arguments.times)
    rows: list[dict[str, Any]] = [{"side": "engramos"} | ours]
    if not arguments.alone:
        rows.append({"side": "peft"} | beside(arguments))
    print("| side | base | one, ratio | mixed, ratio | swap ms | attach ms | 200: MB, RSS MB |\n|" + " --- |" * 7)
    for row in rows:
        print(
            f"| {row['side']} | {row['base_s']:.2f} | {row['one_s']:.2f}, {row['one_ratio']:.2f} | "
            f"{row['mixed_s']:.2f}, {row['mixed_ratio']:.2f} | {row['swap_ms']:.2f} | {row['attach_ms']:.2f} | "
            f"{row['adapter_bytes'] / 1e6:.0f}, {row['rss_bytes'] / 1e6:.0f} |"
        )
        if "prefix_name" in row:
            print(f"peft, name that is another's beginning: {row['prefix_name']}")
    if arguments.out:
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        sizes = {"prompts": len(NAMES), "tokens": arguments.tokens, "times": arguments.times}
        metrics = {
            f"{row['side']}.{name}": value
            for row in rows
            for name, value in row.items()
            if isinstance(value, int | float)
        }
        told = {"rows": rows, "metrics": metrics}
        arguments.out.write_text(json.dumps(stamp() | {"versions": versions} | sizes | told, indent=1) + "\n")


if __name__ == "__main__":
    main()
