"""Opening a large vault in a fresh process, its file dropped from the page cache before."""

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.numbers import number, rss_bytes
from benchmarks.speed.texts import conversation
from benchmarks.speed.vectors import DIMS, vectors

A_USER = 2_000
MOST_S, MOST_MB = 2.0, 300.0


def build(seed: int, folder: str, num: int, data: str | None) -> float:
    """Make a vault of `num` memories, 2,000 a user, and return how many were added a second."""
    from benchmarks.speed.opened import Given, fill, open_memory

    from engramos.scope import Scope

    given = Given(DIMS)
    start = time.perf_counter()
    with open_memory(Path(folder, "memory"), given) as memory:
        for user in range(num // A_USER):
            turns = list(conversation(seed + user, A_USER, Path(data) if data else None))
            fill(memory, given, turns, vectors(seed + user, A_USER), Scope("bench", f"u{user}"))
    return num / (time.perf_counter() - start)


def measure(seed: int, folder: str, num: int) -> list[dict[str, Any]]:
    """Return the seconds and the memory that opening takes, and the first two searches after it."""
    path = Path(folder, "memory", "vault.db")
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    from benchmarks.speed.opened import Given, open_memory

    imported_s = time.perf_counter() - start
    given = Given(DIMS)
    given.asked = vectors(seed, 1)[0]
    start = time.perf_counter()
    memory = open_memory(Path(folder, "memory"), given)
    opened_s, rss = time.perf_counter() - start, rss_bytes()
    searched_ms = []
    for question in ("What did Ana say about the house?", "When did Bruno talk of it?"):
        start = time.perf_counter()
        memory.search(question)
        searched_ms.append((time.perf_counter() - start) * 1e3)
    start = time.perf_counter()
    memory.close()
    closed_ms = (time.perf_counter() - start) * 1e3
    what = f"vault of {num:,} memories"
    return [
        number(f"{what}: open", opened_s, "s", most=MOST_S),
        number(f"{what}: resident memory before the first search", rss / 1e6, "MB", most=MOST_MB),
        number(f"{what}: importing the package", imported_s, "s"),
        number(f"{what}: first search of a user of {A_USER:,}", searched_ms[0], "ms"),
        number(f"{what}: second search", searched_ms[1], "ms"),
        number(f"{what}: close", closed_ms, "ms"),
        number(f"{what}: on disk", path.stat().st_size / 1e6, "MB"),
    ]
