"""Exact search, codes and nearest-neighbour indexes: recall against exact search, time, size.

`OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.ann --sizes 10000 100000 300000` prints a line for each
method and writes `benchmarks/results/ann.json`. Times are CPU of this process, so that others do not count.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.speed.machine import commit, machine, versions

from engramos.plaintext.codes import ROLE as CODES
from engramos.plaintext.codes.base import Coded
from engramos.vault.ann import ROLE as ANN

DIMS = 384
NUM_QUESTIONS = 200
SEED = 7
OUT = Path(__file__).parent / "results" / "ann.json"


def even(num: int) -> np.ndarray:
    """Return vectors spread evenly over the sphere: the worst case, for no neighbour is near."""
    return _units(np.random.default_rng([SEED, 1]).standard_normal((num, DIMS), dtype=np.float32))


def like_text(num: int) -> np.ndarray:
    """Return vectors as embedders make them of texts.

    They share a mean (cosine of two of them about 0.5), lie near 300 subjects and, within a subject, near talks of
    about 25 turns; directions have unequal weight, by a power law.
    """
    random = np.random.default_rng([SEED, 2])
    weights = np.arange(1, DIMS + 1, dtype=np.float32) ** np.float32(-0.4)

    def spread(rows: int, size: float) -> np.ndarray:
        made = random.standard_normal((rows, DIMS), dtype=np.float32) * weights
        return made * np.float32(size / np.linalg.norm(weights))

    subjects = spread(300, 0.5)
    talks = subjects[random.integers(0, 300, num // 25 + 1)] + spread(num // 25 + 1, 0.5)
    rows = talks[random.integers(0, len(talks), num)] + spread(num, 0.7) + spread(1, 1.0)
    return _units(rows)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measure(vectors: np.ndarray, questions: np.ndarray, methods: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each method; the rows of `vectors` are in Fortran order."""
    wanted = [np.argsort(-(vectors @ question))[:10] for question in questions]
    yield {"method": "exact"} | _asked(lambda question: vectors @ question, questions, None)
    for name in CODES.names():
        coded = Coded(CODES.make(name))
        start = time.process_time()
        coded.score(vectors, questions[0])
        built_s = time.process_time() - start
        for num in (32, 256, 1_000):

            def best(question: np.ndarray, coded: Coded = coded, num: int = num) -> np.ndarray:
                scores = coded.score(vectors, question)
                rows = np.argpartition(scores, len(scores) - num)[len(scores) - num :]
                return rows[np.argsort(-(vectors[rows] @ question))]

            numbers = _asked(best, questions, wanted)
            yield {"method": name, "candidates": num, "build_cpu_s": built_s, "mb": coded.num_bytes / 1e6} | numbers
    for text in methods:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            method = ANN.parse(text)
            method.build(Path(folder), vectors.astype(np.float16, order="C"))
            built_s = time.process_time() - start
            opened = method.open(Path(folder))
            numbers = _asked(lambda question, opened=opened: opened.find(question, 1_000), questions, wanted)
            size = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())
            opened.close()
        yield {"method": text, "candidates": 1_000, "build_cpu_s": built_s, "mb": size / 1e6} | numbers


def _asked(
    find: Callable[[np.ndarray], np.ndarray], questions: np.ndarray, wanted: list[np.ndarray] | None
) -> dict[str, float]:
    took_ms, shares = [], []
    for at, question in enumerate(questions):
        start = time.process_time()
        found = find(question)
        took_ms.append((time.process_time() - start) * 1e3)
        shares.append(1.0 if wanted is None else float(np.isin(wanted[at], found).mean()))
    p50, p95 = np.percentile(took_ms, [50, 95])
    return {"recall@10": float(np.mean(shares)), "cpu_ms_p50": float(p50), "cpu_ms_p95": float(p95)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ann", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 300_000])
    parser.add_argument("--methods", nargs="*", default=["lists"], help="of the role ann; qdrant takes minutes")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    results = []
    for make in (like_text, even):
        for num in asked.sizes:
            made = make(num + NUM_QUESTIONS)
            vectors = np.asfortranarray(made[:num].astype(np.float16).astype(np.float32))
            for numbers in measure(vectors, made[num:], asked.methods):
                results.append({"vectors": make.__name__, "num": num} | numbers)
                print(json.dumps(results[-1]), flush=True)
    whole = {"seed": SEED, "dims": DIMS, "commit": commit(), "machine": machine(), "versions": versions()}
    asked.out.write_text(json.dumps(whole | {"results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
