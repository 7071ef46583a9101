"""Adding one by one, each on the disk when the call returns, beside the floor."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.floor import Floor
from benchmarks.speed.numbers import Watch, number, percentile, timed_ms
from benchmarks.speed.opened import Given, open_memory
from benchmarks.speed.texts import conversation
from benchmarks.speed.vectors import DIMS, vectors

BLOCK = 50


def measure(seed: int, folder: str, num: int, data: str | None) -> list[dict[str, Any]]:
    """Return the times of `num` adds each, in alternating blocks of 50, the first block of each left out."""
    turns = list(conversation(seed, num + BLOCK, Path(data) if data else None))
    rows = vectors(seed, len(turns))
    floor, given = Floor(Path(folder, "floor.db")), Given(DIMS)
    ours_ms: list[list[float]] = []
    floor_ms: list[list[float]] = []
    ours_watch, floor_watch = Watch(), Watch()
    with open_memory(Path(folder, "memory"), given) as memory:

        def add_ours(at: int) -> None:
            turn = turns[at]
            given.give(rows[at : at + 1])
            memory.add(turn.text, speaker=turn.speaker, session=turn.session, at=turn.at)

        def add_floor(at: int) -> None:
            floor.add("u0", [turns[at].text], rows[at : at + 1])

        for start in range(0, num + BLOCK, BLOCK):
            places = range(start, start + BLOCK)
            with floor_watch.lap():
                floor_ms.append([timed_ms(lambda at=at: add_floor(at)) for at in places])
            with ours_watch.lap():
                ours_ms.append([timed_ms(lambda at=at: add_ours(at)) for at in places])
    floor.close()
    ours_ms, floor_ms = ours_ms[1:], floor_ms[1:]
    ours_all, floor_all = ([one for block in blocks for one in block] for blocks in (ours_ms, floor_ms))
    return [
        number(
            "add one by one, durable: p50",
            median(map(median, ours_ms)),
            "ms",
            floor=median(map(median, floor_ms)),
            most_ratio=1.5,
        ),
        number("add one by one, durable: p95", percentile(ours_all, 95), "ms", floor=percentile(floor_all, 95)),
        number(
            "add one by one, durable: CPU",
            median(ours_watch.cpu_s[1:]) / BLOCK * 1e3,
            "ms",
            floor=median(floor_watch.cpu_s[1:]) / BLOCK * 1e3,
        ),
    ]
