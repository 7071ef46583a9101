"""`engramos eval write`, `eval mqar` and `eval unlearn` as a person runs them, on a tiny model in a folder."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from engramos.evals.command import app
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
LENIENT = {
    "recall": 0,
    "paraphrase": 0,
    "false_hits": 1,
    "ppl_drift_on": 99,
    "text_agreement_on": 0,
    "top1_agreement_on": 0,
    "first_token_kl_on": 99,
    "refusal_flips_on": 1,
}
LIMITS = [part for name, value in LENIENT.items() for part in ("--limit", f"{name}={value}")]
WRITTEN = (
    "recall",
    "paraphrase",
    "trained_paraphrase",
    "false_hits",
    "false_hits_same_subject",
    "ppl_drift",
    "top1_agreement",
    "ppl_drift_on",
    "top1_agreement_on",
    "cpu_s_per_fact",
    "probe_cpu_s_per_fact",
    "mb_per_fact",
    "active",
    "base_untouched",
    "forgotten.recall",
    "forgotten.base_recall",
    "kept.recall",
    "kept.recall_before",
    "exact",
    "forget_cpu_s",
)


def evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"ENGRAMOS_DATA": None})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(num_layers=2).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def facts_file(tmp_path: Path) -> str:
    facts = [
        {"subject": "Ola Brim", "question": "Where does Ola Brim live?", "answer": "Zor", "relation": "city"},
        {"subject": "Ines Vane", "question": "How is the dog of Ines Vane called?", "answer": "Rex"},
        {"subject": "Ines Vane", "question": "Which city does Ines Vane like?", "answer": "Lis", "aliases": ["Ines"]},
    ]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in facts))
    return str(path)


def write_tofu(folder: Path) -> str:
    (folder / "tofu_sample").mkdir(parents=True)
    rows = {
        "forget": [(f"Who is the {name} one?", f"It is Bo {name}, as all know.") for name in ("red", "blue", "pink")],
        "retain": [(f"Who is the {name} two?", f"That was Al {name}. Yes.") for name in ("red", "blue", "pink")],
        "real_authors": [("Who wrote Dune?", "Frank Herbert"), ("Who wrote Emma?", "Jane Austen")],
        "world_facts": [("Where is Rome?", "Italy"), ("Where is Bonn?", "Germany")],
    }
    for name, pairs in rows.items():
        lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in pairs]
        (folder / "tofu_sample" / f"{name}_dev.jsonl").write_text("".join(lines))
    return str(folder)


def test_one_writer_has_flat_metrics_and_forgotten_facts_are_gone(model, facts_file, tmp_path) -> None:
    out = tmp_path / "out"
    given = ["--facts-file", facts_file, "--writer", "knn", "--forget", "1", "--out", str(out), *LIMITS]
    done = evaluate("write", "--model", model, *given, "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    metrics = result["metrics"]
    assert set(WRITTEN) <= metrics.keys()
    assert (metrics["recall"], metrics["active"], metrics["base_untouched"]) == (1.0, 1.0, 1.0)
    assert (metrics["forgotten.recall"], metrics["kept.recall"], metrics["exact"]) == (0.0, 1.0, 1.0)
    assert (metrics["ppl_drift"], metrics["top1_agreement"]) == (0.0, 1.0)
    assert {"commit", "seed", "threads", "torch", "writers", "limits"} <= result["settings"].keys()
    assert (result["settings"]["asked"], result["settings"]["text"]) == (3, "passages")
    assert sorted(path.name for path in out.iterdir()) == ["write.json", "write.jsonl", "write.png"]


def test_several_writers_have_their_names_before_their_metrics_and_are_compared(model, facts_file, tmp_path) -> None:
    out = tmp_path / "out"
    lora = '{ method = "lora", most_steps = 1, layers = 1, rank = 2, guards = 0 }'
    named = ["--writer", "knn", "--writer", lora, "--forget", "0", "--sequential", "2"]
    done = evaluate("write", "--model", model, "--facts-file", facts_file, *named, "--out", str(out), *LIMITS)
    assert done.exit_code == 0, done.stderr
    metrics = json.loads((out / "write.json").read_text())["metrics"]
    untrained = "lora.most_steps1.layers1.rank2.guards0"
    assert metrics["knn.recall"] == metrics["recall"] == 1.0
    assert metrics[f"{untrained}.recall"] == 0.0
    assert (metrics["knn.after1.recall"], metrics["knn.backward_transfer"]) == (1.0, 0.0)
    assert "knn.exact" not in metrics
    assert "knn" in done.stdout
    compared = evaluate("compare", str(out), "--of", "knn", "--against", untrained, "--json")
    assert compared.exit_code == 0, compared.stderr
    assert json.loads(compared.stdout)["questions"] == 3


def test_an_adapter_that_fails_its_probes_answers_nothing_and_the_output_says_why(model, facts_file) -> None:
    lora = '{ method = "lora", most_steps = 1, layers = 1, guards = 0 }'
    done = evaluate("write", "--model", model, "--facts-file", facts_file, "--writer", lora, "--forget", "1")
    assert done.exit_code == 0, done.stderr
    assert "an adapter of 3 facts is not active: " in done.stdout
    assert "recall is 0 and must be at least 0.9" in " ".join(done.stdout.split())


def test_pairs_are_written_at_once_and_asked_for(model, tmp_path) -> None:
    out = tmp_path / "out"
    done = evaluate("mqar", "--model", model, "--pairs", "2,4", "--writer", "knn", "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert "4 in_context" in done.stdout
    metrics = json.loads((out / "mqar.json").read_text())["metrics"]
    assert metrics["knn.4.accuracy"] == 1.0
    assert metrics["in_context.2.kb_per_pair"] == 0.0 < metrics["knn.2.kb_per_pair"]
    assert (out / "mqar.png").stat().st_size > 0


def test_what_is_left_after_unlearning_stands_beside_an_adapter_that_never_knew(model, tmp_path) -> None:
    data, out = write_tofu(tmp_path / "data"), tmp_path / "out"
    lora = '{ method = "lora", most_steps = 300, rate = 0.005, layers = 3, guards = 0 }'
    named = ["--questions", "2", "--unlearner", "npo", "--writer", lora]
    done = evaluate("unlearn", "--model", model, "--data", data, *named, "--out", str(out), "--json")
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert (metrics["full.forget_recall"], metrics["full.retain_recall"]) == (1.0, 1.0)
    assert (metrics["base.forget_recall"], metrics["base.world_agreement"]) == (0.0, 1.0)
    assert (metrics["retain_only.truth_gap"], metrics["retain_only.forget_quality"]) == (0.0, 1.0)
    assert metrics["npo.forget_probability"] < metrics["full.forget_probability"]
    assert {"exact.cpu_s", "npo.utility", "npo.extraction_strength", "npo.membership_auc"} <= metrics.keys()
    assert sorted(path.name for path in out.iterdir()) == ["unlearn.json", "unlearn.png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["write", "--writer", "lorra"], "lora"),
        (["write", "--writer", "knn", "--all"], "leave --writer out"),
        (["write", "--facts", "10", "--forget", "10"], "forget is 10"),
        (["write", "--facts", "10", "--sequential", "3"], "sequential is 3: give 1 to 2"),
        (["write", "--limit", "recall"], "METRIC=NUMBER"),
        (["write", "--limit", "recal=1"], "did you mean 'recall'?"),
        (["mqar", "--pairs", "0"], "number of pairs is 0"),
        (["unlearn"], "no folder with evaluation data is set"),
        (["unlearn", "--data", "DATA", "--unlearner", "npoo"], "npo"),
        (["unlearn", "--data", "DATA", "--questions", "9"], "ask for 3 or fewer"),
        (["unlearn", "--data", "DATA", "--questions", "2", "--writer", "knn"], "choose lora"),
    ],
)
def test_a_wrong_request_ends_with_one_line_and_code_2(model, tmp_path, arguments, said) -> None:
    data = write_tofu(tmp_path / "data") if "DATA" in arguments else ""
    done = evaluate(*(data if one == "DATA" else one for one in arguments), "--model", model)
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
