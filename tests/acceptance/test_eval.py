"""`engramos eval` as a process, on a small conversation and, where it is there, on LoCoMo itself."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_sample = Path(__file__).parents[1] / "unit" / "evals" / "locomo_sample.py"
_spec = importlib.util.spec_from_file_location("locomo_sample", _sample)
locomo_sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(locomo_sample)


def evaluate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAMOS_")}
    command = [sys.executable, "-m", "engramos.evals", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment, timeout=120)


def test_json_is_one_object_with_ours_beside_the_baselines(tmp_path: Path) -> None:
    data = locomo_sample.write_sample(tmp_path / "data")
    done = evaluate("locomo", "--data", str(data), "--json", "--method", "embedder=hashing")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["benchmark"], result["method"]) == ("locomo", "default")
    assert result["settings"]["asked"] == 5
    assert set(result["baselines"]) == {"bm25", "dense", "rrf60"}
    metrics = result["metrics"]
    for name in ("turn.fraction@10", "turn.ndcg@10", "session.any@5", "temporal.fraction@10", "search_p50_ms"):
        assert name in metrics
    assert metrics["turn.fraction@10"] == metrics["session.all@20"] == 1.0
    assert metrics["memories"] == 6
    assert metrics["single-hop.questions"] == 2


def test_the_table_and_every_questions_outcome_are_kept(tmp_path: Path) -> None:
    data, out = locomo_sample.write_sample(tmp_path / "data"), tmp_path / "out"
    done = evaluate("locomo", "--out", str(out), ENGRAMOS_DATA=str(data), ENGRAMOS_EMBEDDER="none")
    assert done.returncode == 0, done.stderr
    assert "locomo: turn level" in done.stdout
    assert "bm25" in done.stdout
    first, *rows = [json.loads(line) for line in (out / "locomo.jsonl").read_text().splitlines()]
    assert {"commit", "seed", "steps", "embedder"} <= first["settings"].keys()
    assert [row["question"] for row in rows] == [f"talk-1.qa[{number}]" for number in range(5)]
    assert rows[0]["found"]["default"][0] == "D1:1"
    assert rows[0]["metrics"]["bm25"]["turn"]["fraction@5"] == 1.0
    assert "kitten" not in (out / "locomo.jsonl").read_text()
    assert json.loads((out / "locomo.json").read_text())["benchmark"] == "locomo"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("locomo",), "give --data DIR, or set ENGRAMOS_DATA"),
        (("locomo", "--data", "nowhere"), "locomo/locomo*.json: is missing"),
        (("nothing", "--data", "nowhere"), "no method 'nothing' in role 'evals'; choose one of: locomo"),
        (("locomo", "--data", "nowhere", "--method", "densee=1"), "did you mean 'dense'?"),
    ],
)
def test_a_wrong_request_is_one_line_that_says_what_to_do(arguments: tuple[str, ...], words: str) -> None:
    done = evaluate(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_default_plan_beats_bm25_on_locomo_without_an_embedder() -> None:
    data = os.environ.get("ENGRAMOS_DATA")
    if not data or not list(Path(data, "locomo").glob("locomo*.json")):
        pytest.skip("ENGRAMOS_DATA names no folder with LoCoMo")
    done = evaluate("locomo", "--data", data, "--json", "--method", "embedder=none")
    result = json.loads(done.stdout)
    assert result["metrics"]["turn.fraction@10"] > result["baselines"]["bm25"]["turn.fraction@10"] + 0.1
