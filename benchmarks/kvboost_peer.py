"""KVBoost's answers and CPU seconds, as JSON: runs in KVBoost's own environment, started by `kvboost_beside`."""

import json
import sys
import time
from pathlib import Path

import kvboost
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

STRATEGIES = ("none", "selective", "cacheblend")


def main(model_folder: str, prompts_file: str, out: str) -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    cases = json.loads(Path(prompts_file).read_text())
    results = []
    for strategy in STRATEGIES:
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
        for case in cases:
            chosen = kvboost.RecomputeStrategy(strategy)
            engine = kvboost.KVBoost(
                model, tokenizer, max_cache_bytes=2_000_000_000, recompute_strategy=chosen, device="cpu"
            )
            for name in ("cold", "warm", "repeat"):
                # the warm call asks another question of the context that the cold call has read
                prompt = case["first"] if name == "cold" else case["second"]
                began = time.process_time()
                got = engine.generate(prompt, max_new_tokens=case["max_tokens"], temperature=1.0, do_sample=False)
                results.append(
                    {
                        "strategy": strategy,
                        "case": case["name"],
                        "call": name,
                        "text": got.output_text,
                        "reused": got.kv_reuse_ratio,
                        "cpu_s": time.process_time() - began,
                    }
                )
    Path(out).write_text(json.dumps({"version": kvboost.__version__, "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
