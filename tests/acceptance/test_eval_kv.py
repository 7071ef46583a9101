"""`engramos eval kv` and `engramos eval reuse` as a person runs them, on a tiny model in a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engramos.evals.command import app
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer


def evaluate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAMOS_")}
    command = [sys.executable, "-m", "engramos.evals", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment, timeout=120)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def write_data(folder: Path) -> Path:
    (folder / "gutenberg").mkdir(parents=True)
    (folder / "ruler_style").mkdir()
    (folder / "gutenberg" / "1-0.txt").write_text("The boat went down the river. It was a fine day. " * 900)
    text = "Remember the number.\n" + "The sky is blue. " * 25 + "\nWhat is the number? The number is"
    row = {"task": "single", "index": 0, "input": text, "outputs": ["42"]}
    (folder / "ruler_style" / "ruler_dev_512.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_json_is_one_object_with_flat_names_the_full_cache_first(model: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    arguments = ["--data", str(data), "--length", "512", "--samples", "1", "--kept", "0.25", "--json"]
    named = ["--policy", "streaming_llm", "--policy", "kvzip", "--codec", "int8", "--recall", "quest"]
    done = evaluate("kv", "--model", model, *arguments, *named, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(done.stdout.splitlines()) == 1
    assert (result["benchmark"], result["settings"]["text"]) == ("kv", "gutenberg")
    metrics = result["metrics"]
    assert next(iter(metrics)).startswith("full.")
    for name in (
        "full.passkey",
        "full.ruler",
        "full.ppl",
        "int8.kl",
        "int8.bits",
        "streaming_llm.kept25.passkey",
        "streaming_llm.kept25.follow_up",
        "streaming_llm.kept25.aware_passkey",
        "kvzip.kept25.ruler",
        "kvzip.kept25.identical",
        "kvzip.kept25.ttft_cpu_ms",
        "kvzip.kept25.tokens_per_s",
        "quest.resident25.passkey",
    ):
        assert name in metrics
    assert metrics["full.kl"] == 0.0
    assert metrics["int8.kl"] < metrics["streaming_llm.kept25.kl"]
    assert metrics["streaming_llm.kept25.bytes"] * 4 == pytest.approx(metrics["full.bytes"], rel=0.02)
    assert {"seed", "commit", "threads", "policies", "kept"} <= result["settings"].keys()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["kv.json", "kv.jsonl", "kv.png"]
    compared = evaluate("compare", str(tmp_path / "out"), "--of", "int8", "--against", "full", "--json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["questions"] == 2


def test_two_runs_of_one_seed_differ_in_times_alone(model: str) -> None:
    arguments = ["kv", "--model", model, "--length", "512", "--samples", "1", "--kept", "0.5", "--json"]
    named = ["--policy", "h2o", "--codec", "none", "--recall", "none", "--task", "passkey"]
    first, again = (json.loads(evaluate(*arguments, *named).stdout)["metrics"] for _ in range(2))
    timed = ("_ms", "_s")
    assert {name: value for name, value in first.items() if not name.endswith(timed)} == {
        name: value for name, value in again.items() if not name.endswith(timed)
    }
    assert "h2o.kept50.kl" in first


def test_without_data_sentences_are_made_and_the_output_says_so(model: str) -> None:
    named = ["--policy", "knorm", "--codec", "none", "--recall", "none"]
    done = evaluate("kv", "--model", model, "--length", "512,9000", "--samples", "1", "--kept", "0.5", *named)
    assert done.returncode == 0, done.stderr
    assert "(made)" in done.stdout
    assert "knorm.kept50" in done.stdout
    assert "left out: length 9000: the model's window has 4096 tokens" in done.stdout
    assert "left out: ruler at 512: there is no folder with data; give --data DIR, or set ENGRAMOS_DATA" in done.stdout


def test_a_stored_prefix_gives_the_same_tokens_and_fused_pieces_have_their_table(model: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    out = tmp_path / "out"
    done = evaluate(
        "reuse", "--model", model, "--prefix", "512,9000", "--samples", "1", "--out", str(out), ENGRAMOS_DATA=str(data)
    )
    assert done.returncode == 0, done.stderr
    assert "left out: prefix 9000" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["reuse.json", "reuse.png"]
    metrics = json.loads((out / "reuse.json").read_text())["metrics"]
    assert metrics["512.identical"] == 1.0
    assert metrics["full.kl"] == 0.0
    for name in ("512.ttft_ratio", "512.int8.identical", "concat.passkey", "blend15.kl", "blend15.cpu_ratio"):
        assert name in metrics


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "/nowhere"], 2, "there is no folder"),
        (["--policy", "snapkvv"], 2, "snapkv"),
        (["--kept", "1.5"], 2, "kept ratio"),
        (["--kept", "a half"], 2, "numbers with commas"),
        (["--length", "10"], 2, "lengths"),
        (["--task", "sums"], 2, "passkey, ruler"),
        (["--samples", "0"], 2, "samples"),
        (["--data", "EMPTY"], 1, "gutenberg"),
        (["--plot", "plot.txt"], 2, "format"),
    ],
)
def test_a_wrong_request_ends_with_one_line_and_its_code(model, tmp_path, arguments, code, said) -> None:
    given = [str(tmp_path) if one == "EMPTY" else one for one in arguments]
    named = [] if "--model" in given else ["--model", model]
    done = CliRunner().invoke(app, ["kv", *named, *given], env={"ENGRAMOS_DATA": None})
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_torch_is_loaded_before_something_is_measured() -> None:
    program = "import sys; from engramos.evals.command import app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
