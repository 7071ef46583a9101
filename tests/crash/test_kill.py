"""P1: what was acknowledged survives kill -9."""

import sqlite3

import pytest
from tests.crash import whole
from tests.crash.controller import Acknowledged, Totals, Worker, find_loss, kill_once


def kill_many(tmp_path, seed, folders, kills_each):
    totals = Totals()
    for number in range(folders):
        wanted = Acknowledged()
        for kill in range(kills_each):
            kill_once(tmp_path / f"memory{number}", seed + number, kill, wanted, totals)
    print(f"\nkill -9, seed {seed}: {totals}")
    return totals


@pytest.mark.parametrize("seed", [101, 202])
def test_what_was_acknowledged_survives_ten_kills(tmp_path, seed):
    totals = kill_many(tmp_path, seed, folders=2, kills_each=5)
    assert (totals.kills, totals.lost) == (10, 0)
    assert totals.acknowledged > 200


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000, 2000, 3000, 4000])
def test_what_was_acknowledged_survives_fifty_kills(tmp_path, seed):
    totals = kill_many(tmp_path, seed, folders=10, kills_each=5)
    assert (totals.kills, totals.lost) == (50, 0)


def test_the_comparison_finds_a_lost_cube_a_changed_text_and_a_broken_chain(tmp_path):
    """The harness can fail: a memory that is not what was acknowledged is found out."""
    wanted, folder = Acknowledged(), tmp_path / "memory"
    with Worker("add", folder, seed="7", threads=2, num=3) as worker:
        worker.finish()
    wanted.take(worker.lines)
    assert find_loss(folder, wanted) == (0, [])
    first, second, *_ = wanted.digests
    wanted.digests["0" * 26] = wanted.digests[first]
    wanted.digests[second] = [whole.digest("another text")]
    num_lost, found = find_loss(folder, wanted)
    assert num_lost >= 3
    assert any("0" * 26 in one for one in found)
    assert any("other text" in one for one in found)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM journal WHERE seq = 3", "journal: 4 follows 2"),
        ("UPDATE journal SET reason = 'other' WHERE seq = 3", "the chain breaks at 3"),
        ("DELETE FROM cubes WHERE cube_key = 2", "cubes and versions differ"),
        ("DELETE FROM vectors WHERE cube_key = 2", "the vectors differ"),
        ("INSERT INTO text_index (rowid, text) VALUES (99, 'ghost')", "the full-text index differs"),
        ("DELETE FROM jobs", "is missing"),
        ("UPDATE jobs SET run_at_us = run_at_us + 1", "has no cube"),
        ("UPDATE versions SET text = text || '!'", "not what the journal sealed"),
        ("DELETE FROM versions WHERE seq = 1", "is missing"),
        ("DELETE FROM scope_heads", "scope heads"),
    ],
)
def test_a_memory_that_is_not_whole_is_found_out(tmp_path, damage, problem):
    with Worker("add", tmp_path / "memory", seed="8", threads=2, num=6) as worker:
        worker.finish()
    assert whole.problems(tmp_path / "memory") == []
    connection = sqlite3.connect(tmp_path / "memory" / "vault.db", isolation_level=None)
    connection.execute(damage)
    connection.close()
    assert any(problem in one for one in whole.problems(tmp_path / "memory"))
