"""Group commit: many adds at once share commits, and each is whole."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engramos.errors import EngramosError, VersionConflictError
from engramos.memory import MemoryOS

THREADS = 32


def count_commits(memory: MemoryOS) -> list[str]:
    """Return a list that grows by one entry for each commit that the writer begins."""
    seen: list[str] = []
    connection = memory._parts.vault._writer._connection
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(lambda text: seen.append(text) if text == "COMMIT" else None)
    return seen


def test_adds_from_many_threads_share_commits_and_each_is_whole(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        commits = count_commits(memory)
        with ThreadPoolExecutor(THREADS) as pool:
            receipts = list(pool.map(lambda n: memory.add([f"first {n}", f"second {n}", f"third {n}"]), range(320)))
        assert len(commits) < 320 / 2
        assert all(len(receipt.cube_ids) == 3 for receipt in receipts)
        texts = {cube.id: cube.text for cube in memory.list(limit=10_000)}
        for n, receipt in enumerate(receipts):
            assert [texts[one] for one in receipt.cube_ids] == [f"first {n}", f"second {n}", f"third {n}"]
        assert len(texts) == 960


def test_the_journal_has_no_gap_and_no_double_after_shared_commits(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda n: memory.add(f"text {n}"), range(300)))
        rows = memory._parts.vault.journal("local")
        assert [row.seq for row in rows] == list(range(1, 301))


def test_one_bad_request_in_a_group_undoes_itself_alone(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        (cube_id,) = memory.add("shared").cube_ids

        def ask(n: int) -> str:
            if n % 3:
                memory.add(f"good {n}")
                return "added"
            try:
                memory.update(cube_id, text=f"bad {n}", expected_version=99)
            except VersionConflictError:
                return "refused"
            return "wrong"

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(ask, range(300)))
        assert answers.count("refused") == 100
        assert answers.count("added") == 200
        assert memory.stats()["cubes"] == 201
        assert memory.get(cube_id).version == 1


def test_a_dry_run_among_writers_stores_nothing(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: memory.add(f"text {n}", dry_run=bool(n % 2)), range(100)))
        assert memory.stats()["cubes"] == 50
        assert [row.seq for row in memory._parts.vault.journal("local")] == list(range(1, 51))


def test_the_same_key_from_many_threads_stores_once(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        with ThreadPoolExecutor(THREADS) as pool:
            receipts = list(pool.map(lambda _: memory.add("same", idempotency_key="one"), range(64)))
        assert len({receipt.cube_ids for receipt in receipts}) == 1
        assert sum(not receipt.is_replay for receipt in receipts) == 1
        assert memory.stats()["cubes"] == 1
        with pytest.raises(EngramosError, match="idempotency key 'one'"):
            memory.add("other", idempotency_key="one")
