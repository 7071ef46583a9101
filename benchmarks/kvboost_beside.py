"""Warm answers beside cold ones, ours and KVBoost's, on the same model and prompts.

    python -m benchmarks.kvboost_beside --peer VENV/bin/python --model FOLDER --data DIR --out FILE

Each case is a text with a pass key and two questions. KVBoost reads text and first question (cold), then text and
second question (warm), then the latter again (repeat); its truth is plain transformers' greedy answer to the same
prompt. We build a KV cube of the text, attach it, and ask the second question; and fuse the text from two separately
encoded halves by blend, whose CPU seconds stand beside a plain prefill of the same tokens.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.stamp import stamp

from engramos.activation.fusion.blend import Blend
from engramos.engines._fuse import encode_piece, fuse
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.evals.kv.texts import Texts

SEED = 11
TOKENS = 1200
MAX_TOKENS = 8


def cases_of(engine: Transformers, data: Path, num: int) -> list[dict[str, Any]]:
    """Return prompts: a text with a pass key, and two ways to ask for it."""
    texts, out = Texts.read(data), []
    for index in range(num):
        source = random.Random(f"{SEED} {index}")
        key = str(source.randrange(10_000, 100_000))
        text = engine.text(texts.tokens(engine, source, TOKENS))
        place = text.find(". ", len(text) // 3) + 2
        hidden = f"The pass key is {key}. Remember it. {key} is the pass key. "
        context = text[:place] + hidden + text[place:]
        first, second = "\n\nWho wrote this? The author is", "\n\nWhat is the pass key? The pass key is"
        case = {"name": str(index), "key": key, "context": context, "max_tokens": MAX_TOKENS}
        out.append(case | {"first": context + first, "second": context + second, "question": second})
    return out


def greedy(engine: Transformers, scores: Any, cache: Any) -> str:
    """Return the greedy answer that follows."""
    return "".join(piece.text for piece in engine.generate(scores, cache, Sampling(max_tokens=MAX_TOKENS)))


def ours(engine: Transformers, case: dict[str, Any]) -> dict[str, Any]:
    """Return our cold, warm and fused answers to a case, with CPU seconds until the first token."""
    context, question = engine.tokens(case["context"]), engine.tokens(case["question"])
    began = time.process_time()
    cold = engine.new_cache()
    scores = engine.prefill(context + question, cold)
    row: dict[str, Any] = {"cold_cpu_s": time.process_time() - began, "cold": greedy(engine, scores, cold)}
    first = engine.new_cache()
    engine.prefill(context, first)
    stored = engine.detach(first)
    began = time.process_time()
    warm = engine.attach(stored)
    scores = engine.prefill(question, warm)
    row |= {"warm_cpu_s": time.process_time() - began, "warm": greedy(engine, scores, warm)}
    half = len(context) // 2
    parts = [context[:half], context[half:]]
    pieces = [encode_piece(engine, part) for part in parts]
    began = time.process_time()
    fused = fuse(engine, pieces, parts, Blend(0.15))
    scores = engine.prefill(question, fused)
    return row | {"blend_cpu_s": time.process_time() - began, "blend": greedy(engine, scores, fused)}


def summary(cases: list[dict[str, Any]], mine: list[dict[str, Any]], peer: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many warm answers equal cold ones, and what they cost beside a plain prefill, for each way."""
    truth = {case["name"]: row["cold"].strip() for case, row in zip(cases, mine, strict=True)}
    plain = sum(row["cold_cpu_s"] for row in mine)
    table: dict[str, Any] = {
        "ours attached": {
            "equal": sum(row["warm"] == row["cold"] for row in mine),
            "of": len(mine),
            "cost": sum(row["warm_cpu_s"] for row in mine) / plain,
        },
        "ours blend 15 %": {
            "equal": sum(row["blend"] == row["cold"] for row in mine),
            "of": len(mine),
            "cost": sum(row["blend_cpu_s"] for row in mine) / plain,
        },
    }
    for strategy in sorted({row["strategy"] for row in peer}):
        own = [row for row in peer if row["strategy"] == strategy and row["call"] != "cold"]
        # generation of the answer is in its time and not in ours: the cold call's time has it too
        cold = sum(row["cpu_s"] for row in peer if row["strategy"] == strategy and row["call"] == "cold")
        table[f"KVBoost {strategy}"] = {
            "equal": sum(row["text"].strip() == truth[row["case"]] for row in own),
            "of": len(own),
            "cost": sum(row["cpu_s"] for row in own) / (2 * cold),
            "reused": sum(row["reused"] for row in own) / len(own),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--peer", "--model", "--data"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = Transformers(str(given.model))
    cases = cases_of(engine, given.data, given.cases)
    with tempfile.TemporaryDirectory() as folder:
        prompts, answers = Path(folder, "prompts.json"), Path(folder, "answers.json")
        prompts.write_text(json.dumps(cases))
        program = Path(__file__).with_name("kvboost_peer.py")
        subprocess.run([given.peer, program, given.model, prompts, answers], check=True)
        peer = json.loads(answers.read_text())
    mine = [ours(engine, case) for case in cases]
    result = {
        "benchmark": "kvboost_beside",
        "settings": {"seed": SEED, "tokens": TOKENS, "max_tokens": MAX_TOKENS, "cases": given.cases},
        "peer_version": peer["version"],
        **stamp(),
        "table": summary(cases, mine, peer["results"]),
        "ours": [row | {"key": case["key"]} for case, row in zip(cases, mine, strict=True)],
        "peer": peer["results"],
    }
    text = json.dumps(result, indent=1)
    print(json.dumps(result["table"], indent=1))
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
