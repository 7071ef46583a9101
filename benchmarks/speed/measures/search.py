"""Hybrid search by the default plan, for users with many memories."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.speed.numbers import number, percentile, rss_bytes
from benchmarks.speed.opened import Given, fill, open_memory
from benchmarks.speed.texts import conversation, questions
from benchmarks.speed.vectors import DIMS, asked, vectors

from engramos import MemoryOS
from engramos.embedders.bge_small import BgeSmall

NUM_QUESTIONS = 300
MOST_MS = {10_000: 3.0, 100_000: 12.0}
WITH_EMBEDDER = 10_000
"""At this number of memories the questions are also embedded with the default embedder, and its time is added."""


def build(seed: int, folder: str, num: int, data: str | None) -> None:
    """Make the memory of one user."""
    given = Given(DIMS)
    turns = list(conversation(seed, num, Path(data) if data else None))
    with open_memory(Path(folder, "memory"), given) as memory:
        fill(memory, given, turns, vectors(seed, num))


def measure(seed: int, folder: str, num: int, data: str | None) -> list[dict[str, Any]]:
    """Return the times of 300 questions to the memory that `build` made."""
    turns = list(conversation(seed, num, Path(data) if data else None))
    made = questions(seed, turns, NUM_QUESTIONS)
    rows = asked(seed, vectors(seed, num), [about for _, about in made])
    given = Given(DIMS)
    times_ms: list[float] = []
    num_found = 0
    with open_memory(Path(folder, "memory"), given) as memory:
        first_ms, _ = ask(memory, given, made[0][0], rows[0])
        for (text, about), row in zip(made, rows, strict=True):
            took_ms, found = ask(memory, given, text, row)
            times_ms.append(took_ms)
            num_found += turns[about].text in found
        rss = rss_bytes()
    what = f"search among {num:,} memories"
    whole: list[dict[str, Any]] = []
    if num == WITH_EMBEDDER:
        whole_ms = [one + two for one, two in zip(times_ms, embedding_ms([text for text, _ in made]), strict=True)]
        whole = [
            number(f"{what}, the question embedded by bge_small: p50", percentile(whole_ms, 50), "ms", most=15.0),
            number(f"{what}, the question embedded by bge_small: p95", percentile(whole_ms, 95), "ms", most=30.0),
        ]
    return [
        *whole,
        number(f"{what}: p50", percentile(times_ms, 50), "ms", most=MOST_MS.get(num)),
        number(f"{what}: p95", percentile(times_ms, 95), "ms"),
        number(f"{what}: the first, which reads the index", first_ms, "ms"),
        # a search that finds nothing would be quick too
        number(f"{what}: questions whose turn is among 10 hits", 100 * num_found / len(made), "%"),
        number(f"{what}: resident memory", rss / 1e6, "MB"),
    ]


def ask(memory: MemoryOS, given: Given, text: str, row: np.ndarray) -> tuple[float, list[str]]:
    """Return the milliseconds of one search, and the texts that it found."""
    given.asked = row
    start = time.perf_counter()
    hits = memory.search(text, limit=10)
    return (time.perf_counter() - start) * 1e3, [hit.text for hit in hits]


def embedding_ms(texts: Sequence[str]) -> list[float]:
    """Return the milliseconds in which the default embedder embeds each question."""
    embedder = BgeSmall()
    embedder.embed_query("load the model")
    times_ms = []
    for text in texts:
        start = time.perf_counter()
        embedder.embed_query(text)
        times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms
