"""Do our policies keep the tokens that kvpress keeps, on the same caches?

`python -m benchmarks.kvpress_beside --peer VENV/bin/python --model FOLDER --out FILE`: the peer's Python has kvpress
0.5.5, transformers 5.2.0 and torch 2.13.0; FOLDER holds a Llama-like model as transformers saves it. The peer dumps
keys, values and queries of every layer and what each press keeps; our policies look at the same numbers. All parameters
are defaults on both sides, and no question is known, for a question would shorten our observation window.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchmarks.stamp import stamp
from safetensors import safe_open
from torch import Tensor

from engramos.activation.budgets import Budget
from engramos.activation.policies import ROLE
from engramos.activation.policies.base import Policy
from engramos.activation.rope import Rope
from engramos.activation.view import LayerView

POLICIES = (
    "adakv",
    "expected_attention",
    "h2o",
    "keydiff",
    "knorm",
    "lagkv",
    "pyramidkv",
    "snapkv",
    "streaming_llm",
    "tova",
)
REMOVED = (0.25, 0.5, 0.75)
LENGTHS = (512, 768, 1024)
"""Tokens of the prompts; multiples of four, so that no press rounds its budget."""
ROOT = Path(__file__).parents[1]
TEXTS = ("README.md", "docs/log.md", "docs/results.md")


class Dump:
    """One prompt, as the peer wrote it down."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        self.about: dict[str, str] = self._file.metadata()
        self.num_layers = int(self.about["layers"])
        frequencies, scale = self._file.get_tensor("inverse_frequencies"), float(self.about["rope_scaling"])

        def angles(positions: Tensor) -> tuple[Tensor, Tensor]:
            angle = positions.unsqueeze(-1).float() * frequencies
            both = torch.cat((angle, angle), dim=-1)
            return both.cos() * scale, both.sin() * scale

        self._rope = Rope(angles)

    def view(self, layer: int) -> LayerView:
        """Return one layer with the queries of the whole prompt."""
        keys, values, queries = (self._file.get_tensor(f"layer.{layer}.{one}") for one in ("keys", "values", "queries"))
        places = torch.arange(keys.shape[1])
        return LayerView(
            layer=layer,
            num_layers=self.num_layers,
            keys=keys,
            values=values,
            positions=places.expand(keys.shape[0], -1),
            queries=queries,
            query_positions=places,
            scaling=float(self.about["scaling"]),
            rope=self._rope,
            prompt_tokens=keys.shape[1],
        )

    def kept(self, name: str, removed: float, layer: int, head: int) -> set[int]:
        """Return what the press kept."""
        return set(self._file.get_tensor(f"layer.{layer}.{name}.{removed}.{head}").tolist())


def newest(view: LayerView, num: int) -> LayerView:
    """Return the layer with its newest queries alone."""
    first = max(view.queries.shape[1] - num, 0)
    view.queries, view.query_positions, view._attention = view.queries[:, first:], view.query_positions[first:], {}
    return view


def ours(policy: Policy, dump: Dump) -> Iterator[tuple[float, int, int, set[int]]]:
    """Yield what a policy keeps: share removed, layer, head, places."""
    scores, demands = [], []
    for layer in range(dump.num_layers):
        view = dump.view(layer)
        if policy.observes:
            policy.observe(view)
        view = newest(view, policy.num_queries)
        scores.append(policy.score(view))
        demands.append(policy.demand(view, scores[-1]))
    for removed in REMOVED:
        budget = Budget(ratio=1 - removed).tokens_of(scores[0].shape[1], 1)
        for layer, counts in enumerate(policy.allot(scores, demands, budget)):
            for head, places in enumerate(policy.choose(scores[layer], counts)):
                yield removed, layer, head, set(places.tolist())


def compare(dumps: list[Dump]) -> dict[str, dict[str, Any]]:
    """Return for each policy the share of heads that keep equal sets, and of what share of tokens the sets agree."""
    table = {}
    for name in POLICIES:
        num, equal, common, total, unequal = 0, 0, 0, 0, []
        for prompt, dump in enumerate(dumps):
            for removed, layer, head, mine in ours(ROLE.make(name), dump):
                theirs = dump.kept(name, removed, layer, head)
                num, equal = num + 1, equal + (mine == theirs)
                common, total = common + len(mine & theirs), total + len(mine | theirs)
                if mine != theirs:
                    unequal.append([prompt, removed, layer, head, len(mine - theirs), len(theirs - mine)])
        table[name] = {
            "equal": round(equal / num, 5),
            "sets": num,
            "equal_sets": equal,
            "overlap": round(common / total, 6),
            "first_unequal": unequal[:5],
        }
        print(f"{name:20} {equal}/{num} sets equal, {table[name]['overlap']:.4%} of their tokens", flush=True)
    return table


def prompts() -> list[dict[str, Any]]:
    """Return the texts and how many tokens of each are read."""
    texts = [(ROOT / path).read_text(encoding="utf-8") for path in TEXTS]

    return [{"text": text, "length": length} for text, length in zip(texts, LENGTHS, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the Python of an environment with kvpress")
    parser.add_argument("--model", required=True, help="a folder with a Llama-like model")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "kvpress_beside.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        job = Path(folder, "job.json")
        asked = {"model": str(Path(given.model).resolve()), "removed": REMOVED, "prompts": prompts()}
        job.write_text(json.dumps(asked), encoding="utf-8")
        subprocess.run([given.peer, str(ROOT / "benchmarks" / "kvpress_peer.py"), str(job)], check=True)
        dumps = [Dump(Path(folder, f"{number}.st")) for number in range(len(LENGTHS))]
        result = {
            **stamp(),
            "model": Path(given.model).name,
            "tokens": list(LENGTHS),
            "removed": list(REMOVED),
            "peer": {"kvpress": "0.5.5", **{name: dumps[0].about[name] for name in ("transformers", "torch")}},
            "torch": torch.__version__,
            "policies": compare(dumps),
        }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: row["equal"] for name, row in result["policies"].items()}))


if __name__ == "__main__":
    main()
