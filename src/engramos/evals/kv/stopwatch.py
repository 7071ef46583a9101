"""Wall and CPU time of a piece of work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Took:
    """How long a piece of work took; 0 until it is done."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of all threads of this process."""


@contextmanager
def stopwatch() -> Iterator[Took]:
    """Yield what holds the times of the block once the block has ended."""
    took = Took()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield took
    finally:
        took.wall_s, took.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
