"""Search of one user while other tenants are many: the same questions, in turn, to vaults that differ in that alone."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.speed.measures.search import NUM_QUESTIONS, ask
from benchmarks.speed.numbers import number, percentile
from benchmarks.speed.opened import Given, fill, open_memory
from benchmarks.speed.texts import conversation, questions
from benchmarks.speed.vectors import DIMS, asked, vectors

from engramos.scope import Scope

OTHERS_HAVE = 20


def build(seed: int, folder: str, num: int, tenants: int, data: str | None) -> None:
    """Make a vault with one user of `num` memories among `tenants` tenants, the others with 20 memories each."""
    where = Path(data) if data else None
    given = Given(DIMS)
    with open_memory(Path(folder, f"tenants-{tenants}"), given) as memory:
        turns, rows = list(conversation(seed, num, where)), vectors(seed, num)
        others = list(conversation(seed + 1, OTHERS_HAVE * 100, where))
        other_rows = vectors(seed + 1, len(others))
        for other in range(tenants - 1):
            # half of them come before the user and half after, so that its rows do not stand at one end
            if other == (tenants - 1) // 2:
                fill(memory, given, turns, rows)
            part = slice(other % 100 * OTHERS_HAVE, (other % 100 + 1) * OTHERS_HAVE)
            fill(memory, given, others[part], other_rows[part], Scope(f"tenant-{other}", "u0"))
        if tenants < 2:
            fill(memory, given, turns, rows)


def measure(seed: int, folder: str, num: int, tenants: list[int], data: str | None) -> list[dict[str, Any]]:
    """Return the p50 of 300 questions for each number of tenants; its floor is the first vault."""
    turns = list(conversation(seed, num, Path(data) if data else None))
    made = questions(seed, turns, NUM_QUESTIONS)
    rows = asked(seed, vectors(seed, num), [about for _, about in made])
    given = Given(DIMS)
    times_ms: dict[int, list[float]] = {count: [] for count in tenants}
    with ExitStack() as stack:
        opened = {count: stack.enter_context(open_memory(Path(folder, f"tenants-{count}"), given)) for count in tenants}
        for memory in opened.values():
            ask(memory, given, made[0][0], rows[0])
        for (text, _), row in zip(made, rows, strict=True):
            for count, memory in opened.items():
                times_ms[count].append(ask(memory, given, text, row)[0])
    alone = percentile(times_ms[tenants[0]], 50)
    return [
        number(
            f"search among {num:,} memories, {count:,} tenant{'s' * (count > 1)} in the vault: p50",
            percentile(times_ms[count], 50),
            "ms",
            floor=alone if count != tenants[0] else None,
            most_ratio=1.2 if count != tenants[0] else None,
        )
        for count in tenants
    ]
