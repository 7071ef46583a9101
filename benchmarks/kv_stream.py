"""Read a stream without end through a cache of fixed size: memory and time for each tenth of it.

    python -m benchmarks.kv_stream --model DIR --tokens 1000000 --budget 4096 --out FILE

Prints one row a tenth: tokens by CPU second, bytes of the cache, and the process's memory.
"""

import argparse
import json
import time
from pathlib import Path

import psutil
import torch
from benchmarks.stamp import stamp

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.policies import ROLE as POLICIES
from engramos.activation.recall import ROLE as RECALL
from engramos.engines.transformers import Transformers
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer


def setting(name: str, budget: int) -> Keeping | Recalling:
    """Return the cache's setting for a policy, or for a recall method written as `recall:NAME`."""
    room = Budget(num_tokens=budget)
    if name.startswith("recall:"):
        recall = RECALL.parse(name.removeprefix("recall:"))
        return Recalling(recall, room, local_share=0.5, every_block=True, is_compact=True)
    return Keeping(POLICIES.parse(name), room, room, every_block=True, is_compact=True)


def stream(engine: Transformers, tokens: list[int], num: int, budget: int, method: str) -> list[dict[str, float]]:
    """Return one row for each tenth of a stream of `num` tokens, which repeats `tokens`."""
    cache = engine.new_cache(setting(method, budget))
    process, rows, at = psutil.Process(), [], 0
    chunk = 8 * engine.block_tokens
    for tenth in range(1, 11):
        began, read = time.process_time(), cache.num_tokens
        while cache.num_tokens < num * tenth // 10:
            piece = [
                tokens[(at + step) % len(tokens)] for step in range(min(chunk, num * tenth // 10 - cache.num_tokens))
            ]
            at += len(piece)
            engine.prefill(piece, cache)
        took = time.process_time() - began
        row = {
            "tokens": cache.num_tokens,
            "tokens_per_cpu_s": (cache.num_tokens - read) / took,
            "cache_bytes": cache.num_bytes,
            "kept_tokens": cache.kept_tokens,
            "next_position": cache.next_position,
            "rss_bytes": process.memory_info().rss,
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a folder or a GGUF file; `tiny` for a random one")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=4096)
    parser.add_argument("--method", default="streaming_llm")
    parser.add_argument("--text", type=Path, help="what is read, again and again; the project's own docs if not given")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.model == "tiny":
        engine = Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny")
    else:
        engine = Transformers(given.model, dtype=given.dtype)
    paths = [given.text] if given.text else sorted(Path("docs").rglob("*.md"))
    tokens = engine.tokens("\n".join(path.read_text(encoding="utf-8") for path in paths))
    rows = stream(engine, tokens, given.tokens, given.budget, given.method)
    speeds = [row["tokens_per_cpu_s"] for row in rows]
    result = {
        "benchmark": "kv_stream",
        "settings": {name: str(value) for name, value in vars(given).items() if name not in ("out", "model", "text")},
        "model": Path(given.model).name,
        **stamp(),
        "last_by_second_tenth_speed": speeds[-1] / speeds[1],
        "rss_growth_bytes": rows[-1]["rss_bytes"] - rows[1]["rss_bytes"],
        "rows": rows,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
