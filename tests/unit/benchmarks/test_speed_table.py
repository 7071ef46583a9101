"""The tables of a speed result, and the part of the page that is made of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.speed.child import ROOT, ChildFailedError, run_child
from benchmarks.speed.numbers import number
from benchmarks.speed.table import END, START, figure, tables, within


def result(**different: Any) -> dict[str, Any]:
    return {
        "commit": "0123456789abcdef",
        "started_at": "2025-01-02T03:04:05+00:00",
        "settings": {"size": "tiny", "seed": 7, "text": "made"},
        "machine": {"processor": "a processor", "cores": 2},
        "versions": {"python": "3.11.7", "sqlite": "3.40.1"},
        "measures": {"add_one": [number("add", 0.6, "ms", floor=0.5, most_ratio=1.5)]},
        "failed": {},
    } | different


def test_a_number_knows_its_ratio_and_whether_what_was_asked_is_met() -> None:
    assert number("add", 0.6, "ms", floor=0.5, most_ratio=1.5)["ratio"] == pytest.approx(1.2)
    assert number("add", 0.6, "ms", floor=0.5, most_ratio=1.5)["is_met"] is True
    assert number("add", 0.8, "ms", floor=0.5, most_ratio=1.5)["is_met"] is False
    assert number("batch", 4_999, "memories/s", least=5_000)["is_met"] is False
    assert number("open", 2.0, "s", most=2.0)["is_met"] is True
    assert number("disk", 1.0, "MB")["is_met"] is None


def test_a_row_shows_value_floor_ratio_and_what_was_asked() -> None:
    assert "| add | 0.6 ms | 0.5 ms | 1.20 | ratio at most 1.5 | yes |" in tables(result())


def test_what_failed_stands_in_the_table() -> None:
    assert "| search | failed: no disk |" in tables(result(failed={"search": "no disk"}))


def test_peers_stand_side_by_side_and_a_failed_one_says_why() -> None:
    ours = {"name": "ours", "version": "1", "add_p50_ms": 1.0, "batch_a_s": 5_000.0, "searches": "all"}
    ours |= {"search_p50_ms": {"2000": 2.0}, "outlives": "20 of 20"}
    made = tables(result(peers=[ours, {"name": "other", "failed": "took more than 300 s"}]))
    assert "search among 2,000, p50" in made
    assert "| ours 1 | 1 ms | 5,000/s | 2 ms | 20 of 20 | all |" in made
    assert "| other | failed: took more than 300 s |" in made


def test_figures_have_three_digits_that_count() -> None:
    assert [figure(value) for value in (0, 0.012345, 1.2345, 12.0, 123.456, 12345.6)] == [
        "0", "0.0123", "1.23", "12", "123", "12,346"]  # fmt: skip


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{START}\nold\n{END}\nafter\n"
    made = within(page, "new")
    assert made == f"before\n{START}\nnew\n{END}\nafter\n"
    assert within(made, "new") == made
    with pytest.raises(ValueError, match="lacks"):
        within("no markers", "new")


def test_check_fails_on_a_stale_page_and_passes_after_writing(tmp_path: Path) -> None:
    page, stored = tmp_path / "page.md", tmp_path / "speed.json"
    page.write_text(f"{START}\n{END}\n", encoding="utf-8")
    stored.write_text(json.dumps(result()), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.speed.table", "--page", str(page), "--result", str(stored)]
    codes = [subprocess.run([*command, *extra], cwd=ROOT, check=False, capture_output=True).returncode
             for extra in (["--check"], [], ["--check"])]  # fmt: skip
    assert codes == [1, 0, 0]


def test_a_failing_child_is_named_by_its_last_line() -> None:
    with pytest.raises(ChildFailedError, match="no_such_measure"):
        run_child("measures.no_such_measure", "measure")


def test_adds_one_by_one_are_measured_beside_the_floor(tmp_path: Path) -> None:
    numbers = run_child("measures.add_one", "measure", seed=7, folder=str(tmp_path), num=50, data=None)
    assert [one["unit"] for one in numbers] == ["ms", "ms", "ms"]
    assert all(one["value"] > 0 and one["floor"] > 0 for one in numbers)
