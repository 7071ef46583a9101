"""Adding in batches of 1,000, on one core, beside the floor."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.floor import Floor
from benchmarks.speed.numbers import Watch, number
from benchmarks.speed.opened import Given, batches, messages, open_memory
from benchmarks.speed.texts import conversation
from benchmarks.speed.vectors import DIMS, vectors


def measure(seed: int, folder: str, num: int, data: str | None) -> list[dict[str, Any]]:
    """Return memories per second, by the median of alternating batches; the first of each is left out."""
    size = min(1_000, num)
    turns = list(conversation(seed, num + size, Path(data) if data else None))
    rows = vectors(seed, len(turns))
    floor, given = Floor(Path(folder, "floor.db")), Given(DIMS)
    ours, bare = Watch(), Watch()
    with open_memory(Path(folder, "memory"), given) as memory:
        for part in batches(len(turns), size):
            texts = [turn.text for turn in turns[part]]
            with bare.lap():
                floor.add("u0", texts, rows[part])
            given.give(rows[part])
            with ours.lap():
                memory.add(messages(turns[part]))
    floor.close()
    # both are closed, so what was in the write-ahead log is in the file
    num_bytes = sum(path.stat().st_size for path in Path(folder, "memory").rglob("*") if path.is_file())
    floor_bytes = Path(folder, "floor.db").stat().st_size
    return [
        number(
            "add in batches of 1,000: wall",
            size / median(ours.wall_s[1:]),
            "memories/s",
            floor=size / median(bare.wall_s[1:]),
            least=5_000,
        ),
        number(
            "add in batches of 1,000: CPU",
            size / median(ours.cpu_s[1:]),
            "memories/s",
            floor=size / median(bare.cpu_s[1:]),
            least=5_000,
        ),
        number("disk a memory", num_bytes / len(turns), "bytes", floor=floor_bytes / len(turns)),
    ]
