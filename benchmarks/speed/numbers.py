"""Numbers of a run: what was measured, beside what, and what was asked."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


def number(
    what: str,
    value: float,
    unit: str,
    *,
    floor: float | None = None,
    most: float | None = None,
    least: float | None = None,
    most_ratio: float | None = None,
) -> dict[str, Any]:
    """Return one number of a result.

    Args:
        what: what was measured.
        value: engramos's number.
        unit: of value and floor.
        floor: the floor's number from the same run.
        most: asked of the value.
        least: asked of the value.
        most_ratio: asked of value / floor.
    """
    ratio = None if floor is None else value / floor
    bounds = {"most": most, "least": least, "most_ratio": most_ratio}
    checks = [value <= most] if most is not None else []
    checks += [value >= least] if least is not None else []
    checks += [ratio <= most_ratio] if most_ratio is not None and ratio is not None else []
    return {
        "what": what,
        "value": value,
        "unit": unit,
        "floor": floor,
        "ratio": ratio,
        "asked": {name: bound for name, bound in bounds.items() if bound is not None},
        "is_met": all(checks) if checks else None,
    }


class Watch:
    """Seconds of wall and of this process's CPU, one entry a lap."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Time what is done within."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)


def timed_ms(work: Callable[[], object]) -> float:
    """Return the milliseconds of wall that `work` takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of some values."""
    return float(np.percentile(np.asarray(values), percent))


def rss_bytes() -> int:
    """Return the resident memory of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1_024 for line in file if line.startswith("VmRSS"))
