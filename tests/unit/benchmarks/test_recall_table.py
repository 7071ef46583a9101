"""The recall tables are made of the results that are there, and of nothing else."""

import json
from pathlib import Path

import pytest
from benchmarks.recall_table import HEADLINES, details, read_results, summary

SETTINGS = {"asked": 1_234, "commit": "abc", "at": "2024-05-01T00:00:00", "embedder": "none"}
NUMBERS = {
    "memories": 10,
    "stored_bytes_per_memory": 2_000,
    "search_p50_ms": 1.25,
    "search_p95_ms": 2.0,
    "context_tokens": 900,
    "full_context_tokens": 40_000,
}


def result(name: str, metrics: dict[str, float]) -> dict:
    baselines = {"bm25": {key: value / 2 if "questions" not in key else value for key, value in metrics.items()}}
    return {"benchmark": name, "settings": SETTINGS, "metrics": metrics | NUMBERS, "baselines": baselines}


def write(folder: Path, *results: dict) -> Path:
    for one in results:
        (folder / f"{one['benchmark']}.json").write_text(json.dumps(one))
    return folder


LOCOMO = dict.fromkeys(HEADLINES["locomo"], 0.5) | {"temporal.fraction@10": 0.25, "temporal.questions": 40.0}


def test_each_headline_has_a_row_and_a_baseline_that_did_not_run_has_none(tmp_path: Path) -> None:
    facts = result("factconsolidation", {"newest": 0.9, "stale": 0.02})
    lines = summary(read_results(write(tmp_path, facts, result("locomo", LOCOMO)))).splitlines()
    assert lines[2] == "| locomo | 1,234 | turn.fraction@5 | 0.500 | 0.250 |  |  |"
    assert lines[-2:] == [
        "| factconsolidation | 1,234 | newest | 0.900 | 0.450 |  |  |",
        "|  |  | stale (lower is better) | 0.020 | 0.010 |  |  |",
    ]
    assert len(lines) == 2 + 4 + 2


def test_the_details_have_each_level_each_category_and_the_price(tmp_path: Path) -> None:
    page = details(read_results(write(tmp_path, result("locomo", LOCOMO))))
    assert "| turn level | fraction@5 | fraction@10 | fraction@20 |" in page
    assert "| session level | fraction@10 |" in page
    assert "| temporal | 40 | 0.250 | 0.125 |" in page
    assert "a context has 900 tokens, a user's whole memory 40,000" in page


def test_a_result_that_lacks_a_headline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"locomo\.json lacks turn\.fraction@5"):
        read_results(write(tmp_path, result("locomo", {"turn.fraction@10": 0.5})))
