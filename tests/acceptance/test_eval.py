"""`engramos eval` as a process, on a small conversation and, where it is there, on LoCoMo itself."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engramos import errors
from engramos.evals import ROLE

_sample = Path(__file__).parents[1] / "unit" / "evals" / "locomo_sample.py"
_spec = importlib.util.spec_from_file_location("locomo_sample", _sample)
locomo_sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(locomo_sample)


def evaluate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAMOS_")}
    command = [sys.executable, "-m", "engramos.evals", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment, timeout=120)


def command_line(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys\n{before}\nfrom engramos.cli.app import run\nsys.exit(run(sys.argv[1:]))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAMOS_")}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=120)


def test_json_is_one_object_with_ours_beside_the_baselines(tmp_path: Path) -> None:
    data = locomo_sample.write_sample(tmp_path / "data")
    done = evaluate("locomo", "--data", str(data), "--json", "--method", "embedder=hashing")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(done.stdout.splitlines()) == 1
    assert list(result) == ["benchmark", "method", "settings", "metrics", "baselines"]
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
    assert first["columns"][:2] == ["turn.fraction@5", "turn.fraction@10"]
    assert [row["question"] for row in rows] == [f"talk-1.qa[{number}]" for number in range(5)]
    assert rows[0]["found"]["default"][0] == "D1:1"
    assert rows[0]["metrics"]["bm25"][0] == 1
    assert "kitten" not in (out / "locomo.jsonl").read_text()
    assert json.loads((out / "locomo.json").read_text())["benchmark"] == "locomo"
    assert (out / "locomo.png").read_bytes().startswith(b"\x89PNG")
    assert [line.rpartition("/")[2] for line in done.stderr.splitlines()] == [
        "locomo.json",
        "locomo.jsonl",
        "locomo.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("locomo",), "give --data DIR, or set ENGRAMOS_DATA", 2),
        (("locomo", "--data", "nowhere"), "locomo/locomo*.json: is missing", 1),
        (("nothing", "--data", "nowhere"), "no method 'nothing' in role 'evals'; choose one of: ", 2),
        (("locomo", "--data", "nowhere", "--method", "densee=1"), "did you mean 'dense'?", 2),
        (("locomo", "--data", "nowhere", "--plot", "plot.bmp"), "end its name with .png", 2),
        (("locomo", "--data", "nowhere", "--out", __file__), "is a file: give a folder", 2),
        (("compare", "nowhere"), "nowhere: file: is missing", 1),
    ],
)
def test_a_wrong_request_is_one_line_that_says_what_to_do(arguments: tuple[str, ...], words: str, code: int) -> None:
    for done in (evaluate(*arguments), command_line("eval", *arguments)):
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    from engramos.cli.exit_codes import exit_code as of_class
    from engramos.evals.command import exit_code

    raised = [
        errors.ConfigError("a"),
        errors.UnknownMethodError("evals", "a", ()),
        errors.InvalidInputError("a"),
        errors.UnsupportedError("a"),
        errors.MissingExtraError("a", "b"),
        errors.ImportFailedError("a", "b", "c"),
        errors.StoreError("a"),
        errors.ModelError("a"),
    ]
    assert [exit_code(error) for error in raised] == [of_class(type(error)) for error in raised]


def test_the_help_names_each_benchmark_and_the_comparison() -> None:
    done = command_line("eval")
    assert done.returncode == 0
    for name in (*ROLE.names(), "compare"):
        assert f"│ {name} " in done.stdout
    own = command_line("eval", "locomo", "--help").stdout
    assert "Usage: engramos eval locomo" in own
    assert "conversation is one user's memory" in " ".join(own.split())
    assert "NAME" not in done.stdout.split("Benchmarks")[1]


def test_without_matplotlib_a_run_says_which_extra_draws_and_goes_on(tmp_path: Path) -> None:
    data, out = locomo_sample.write_sample(tmp_path / "data"), tmp_path / "out"
    arguments = ("--embedder", "none", "eval", "locomo", "--data", str(data))
    without = "sys.modules['matplotlib'] = None"
    done = command_line(*arguments, "--out", str(out), before=without)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].startswith("no plot is drawn: matplotlib is not installed: run pip install")
    assert "engramos[evals]" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["locomo.json", "locomo.jsonl"]
    asked = command_line(*arguments, "--plot", str(tmp_path / "plot.svg"), before=without)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "engramos[evals]" in asked.stderr


def test_two_runs_and_two_methods_of_one_run_are_compared(tmp_path: Path) -> None:
    data = locomo_sample.write_sample(tmp_path / "data")
    for name, method in (("a", "plan=default"), ("b", "plan=bm25")):
        arguments = ("--method", "embedder=none", "--method", method, "--out", str(tmp_path / name))
        assert evaluate("locomo", "--data", str(data), *arguments).returncode == 0
    done = command_line("eval", "compare", str(tmp_path / "a"), str(tmp_path / "b" / "locomo.json"), "--json")
    assert done.returncode == 0, done.stderr
    between = json.loads(done.stdout)
    assert (between["of"]["method"], between["against"]["method"], between["questions"]) == ("default", "bm25", 5)
    within = command_line("--json", "eval", "compare", str(tmp_path / "a"), "--of", "default", "--against", "bm25")
    assert json.loads(within.stdout)["metrics"] == between["metrics"]
    shown = evaluate("compare", str(tmp_path / "a"), "--against", "bm25")
    assert "turn.fraction@10 by category" in shown.stdout
    itself = command_line("eval", "compare", str(tmp_path / "a"))
    assert itself.returncode == 2
    assert "add --against METHOD" in itself.stderr


def test_the_default_plan_beats_bm25_on_locomo_without_an_embedder() -> None:
    data = os.environ.get("ENGRAMOS_DATA")
    if not data or not list(Path(data, "locomo").glob("locomo*.json")):
        pytest.skip("ENGRAMOS_DATA names no folder with LoCoMo")
    done = evaluate("locomo", "--data", data, "--json", "--method", "embedder=none")
    result = json.loads(done.stdout)
    assert result["metrics"]["turn.fraction@10"] > result["baselines"]["bm25"]["turn.fraction@10"] + 0.1
