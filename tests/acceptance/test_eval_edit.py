"""`engramos eval edit` as a person runs it, on a tiny model in a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engramos.config import load
from engramos.evals.command import app
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer


def evaluate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAMOS_")}
    command = [sys.executable, "-m", "engramos.evals", "edit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment, timeout=300)


def invoke(*arguments: str) -> Result:
    """Run the command in this process, where torch is loaded already."""
    return CliRunner().invoke(app, ["edit", *arguments], env={"ENGRAMOS_DATA": None})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(num_layers=2).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("data")
    (folder / "knowledge_editing").mkdir()
    (folder / "wikitext2").mkdir()
    names = ("Ana Lima", "Bruno Sol", "Carla Vaz", "Dora Reis")
    records = [
        {
            "case_id": number,
            "prompt": f"The mother tongue of {name} is",
            "target_new": "Dutch",
            "subject": name,
            "ground_truth": "French",
            "rephrase_prompt": f"At home {name} speaks",
            "locality_prompt": f"The sister of Emil{number} speaks",
            "locality_ground_truth": "Greek",
        }
        for number, name in enumerate(names)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "knowledge_editing" / "counterfact_small.jsonl").write_text(lines)
    text = "".join(f" Boat {number} went down the river . {'It was a fine day . ' * 30}\n" for number in range(5))
    (folder / "wikitext2" / "valid.txt").write_text(f" = Boats = \n{text}")
    return str(folder)


def test_json_is_one_object_with_flat_names_single_and_sequential(model: str, data: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--edits", "2", "--sequential", "3,1", "--method", "grace", "--method", "rome", "--json"]
    done = evaluate("--model", model, "--data", data, *arguments, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result = json.loads(done.stdout)
    metrics = result["metrics"]
    rows = ("grace", "grace.seq1", "grace.seq3", "rome", "rome.seq1", "rome.seq3")
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in metrics)) == ["base", *rows]
    names = {"efficacy", "efficacy_exact", "paraphrase", "locality", "locality_text", "ppl_drift", "undo_exact"}
    for row in rows:
        assert names | {"cpu_s_per_edit", "kb_per_edit", "failed"} <= {
            name.rpartition(".")[2] for name in metrics if name.rpartition(".")[0] == row
        }
        assert metrics[f"{row}.undo_exact"] == 1.0
    assert metrics["grace.efficacy"] == metrics["grace.seq3.efficacy"] == metrics["grace.locality_text"] == 1.0
    assert metrics["rome.kb_per_edit"] < metrics["grace.kb_per_edit"]
    assert {"seed", "commit", "threads", "data_set", "methods", "sequential"} <= result["settings"].keys()
    assert sorted(path.name for path in out.iterdir()) == ["edit.json", "edit.jsonl", "edit.png"]
    table = CliRunner().invoke(app, ["compare", str(out), "--of", "grace", "--against", "rome"])
    assert table.exit_code == 0, table.stderr
    assert "efficacy_exact" in table.stdout


def test_two_runs_of_one_seed_differ_in_times_alone(model: str, data: str) -> None:
    arguments = ["--model", model, "--data", data, "--edits", "1", "--sequential", "none", "--method", "wise", "--json"]
    first, again = (json.loads(invoke(*arguments).stdout)["metrics"] for _ in range(2))
    assert {**first, "wise.cpu_s_per_edit": 0} == {**again, "wise.cpu_s_per_edit": 0}
    assert "wise.efficacy" in first


def test_all_five_editors_stand_in_the_table_where_none_is_named(model: str, data: str) -> None:
    done = invoke("--model", model, "--data", data, "--edits", "1", "--sequential", "none")
    assert done.exit_code == 0, done.stderr
    for name in ("rome", "memit", "alphaedit", "wise", "grace"):
        assert f"│{name} " in done.stdout


def test_records_of_the_data_folder_can_be_read(model: str) -> None:
    folder = load({}).data
    if folder is None or not (folder / "knowledge_editing").is_dir():
        pytest.skip("no folder with evaluation data is set")
    for name in ("counterfact", "zsre"):
        arguments = ["--edits", "1", "--sequential", "2", "--method", "grace", "--data-set", name, "--json"]
        done = invoke("--model", model, "--data", str(folder), *arguments)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["metrics"]["grace.seq2.undo_exact"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "/nowhere", "--edits", "1", "--sequential", "1"], 2, "there is no folder"),
        (["--method", "romee"], 2, "rome"),
        (["--method", "grace", "--method", "grace"], 2, "name each once"),
        (["--method", '{ method = "grace", epsilon = -1 }'], 2, "epsilon is -1"),
        (["--data-set", "mquake"], 2, "counterfact, zsre"),
        (["--data-set", "zsre"], 1, "zsre"),
        (["--edits", "9"], 2, "there are 4 cases"),
        (["--edits", "-1"], 2, "edits"),
        (["--edits", "0", "--sequential", "none"], 2, "nothing is to be measured"),
        (["--sequential", "0,3"], 2, "numbers from 1 on"),
        (["--sequential", "few"], 2, "numbers with commas"),
        (["--plot", "plot.txt"], 2, "format"),
        (["--data", "/nowhere"], 1, "counterfact"),
    ],
)
def test_a_wrong_request_ends_with_one_line_and_its_code(model, data, arguments, code, said) -> None:
    given = [
        *([] if "--model" in arguments else ["--model", model]),
        *([] if "--data" in arguments else ["--data", data]),
    ]
    done = invoke(*given, *arguments)
    assert done.exit_code == code, done.stderr
    assert said in done.stderr


def test_a_folder_with_data_must_be_named(model: str) -> None:
    done = invoke("--model", model)
    assert done.exit_code == 2
    assert "ENGRAMOS_DATA" in done.stderr
