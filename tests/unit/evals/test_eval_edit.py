"""What `engramos eval edit` reads, measures and shows, on a tiny model."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import pytest
import torch
from rich.console import Console

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ImportFailedError, InvalidInputError, ModelError, UnsupportedError
from engramos.evals.outcomes import read_outcomes
from engramos.evals.parametric.edit import Asked, Outcome, measure
from engramos.evals.parametric.edit_cases import Case, chosen, paragraphs, read_cases
from engramos.evals.parametric.edit_plot import draw
from engramos.evals.parametric.edit_reading import WINDOW, WINDOWS, readings, windows_of
from engramos.evals.parametric.edit_report import lines_of, result_of, table
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors.base import Editor, Request
from engramos.parametric.editors.grace import Grace
from engramos.parametric.model import BaseModel
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
TEXT = [
    f"The boat number {number} went down the river, and it was a fine day for all who saw it. " for number in range(3)
]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="tiny").base


def cases_of(num: int) -> list[Case]:
    return [
        Case(
            f"made-{one}",
            Request(f"The mother tongue of Ana{one} is", f"Ana{one}", "Dutch"),
            "French",
            f"At home Ana{one} speaks",
            f"Bruno{one} is a native speaker of",
            "Greek",
        )
        for one in range(num)
    ]


def write_lines(folder: Path, name: str, records: Sequence[object]) -> Path:
    (folder / "knowledge_editing").mkdir(exist_ok=True)
    lines = [json.dumps(record) + "\n" for record in records]
    (folder / "knowledge_editing" / name).write_text("".join(lines), encoding="utf-8")
    return folder


COUNTERFACT = {
    "case_id": 7,
    "prompt": "The mother tongue of Ana is",
    "target_new": "English",
    "subject": "Ana",
    "ground_truth": "French",
    "rephrase_prompt": "At home Ana speaks",
    "locality_prompt": "Bruno speaks",
    "locality_ground_truth": "Greek",
}
ZSRE = {
    "subject": "Acme",
    "src": "What does Acme make?",
    "pred": "lamps",
    "rephrase": "What is made by Acme?",
    "alt": "boats",
    "answers": ["chairs", "tables"],
    "loc": "nq question: who wrote it",
    "loc_ans": "Ana",
}


def test_a_record_of_counterfact_becomes_a_case(tmp_path: Path) -> None:
    found = read_cases(write_lines(tmp_path, "counterfact_small.jsonl", [COUNTERFACT]), "counterfact")
    request = Request("The mother tongue of Ana is", "Ana", "English")
    assert found == [Case("counterfact-7", request, "French", "At home Ana speaks", "Bruno speaks", "Greek")]


def test_a_record_of_zsre_stands_against_its_true_answer_and_not_against_a_guess(tmp_path: Path) -> None:
    found = read_cases(write_lines(tmp_path, "zsre_small.jsonl", [ZSRE, ZSRE | {"alt": "Chairs "}]), "zsre")
    # the second asks for what is true already
    assert [(case.name, case.request.target, case.old) for case in found] == [("zsre-1", "boats", "chairs")]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([1], "line 1: is a list"),
        (COUNTERFACT | {"target_new": " "}, "line 1: has an empty 'target_new'"),
        ({key: COUNTERFACT[key] for key in COUNTERFACT if key != "subject"}, "line 1: has no 'subject'"),
        (COUNTERFACT | {"subject": "Bruno"}, "line 1: has a prompt that does not name its subject"),
        (COUNTERFACT | {"case_id": "7"}, "line 1: has a text as 'case_id'"),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_line(tmp_path: Path, record: object, said: str) -> None:
    with pytest.raises(ImportFailedError, match=said):
        read_cases(write_lines(tmp_path, "counterfact.jsonl", [record]), "counterfact")


def test_zsre_without_an_answer_a_missing_file_and_an_unknown_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match="no text in 'answers'"):
        read_cases(write_lines(tmp_path, "zsre.jsonl", [ZSRE | {"answers": []}]), "zsre")
    with pytest.raises(ImportFailedError, match="counterfact"):
        read_cases(tmp_path, "counterfact")
    with pytest.raises(ConfigError, match="counterfact, zsre"):
        read_cases(tmp_path, "mquake")


def test_cases_are_drawn_by_the_seed_no_subject_twice_and_fewer_are_the_first_of_more() -> None:
    cases = [*cases_of(30), *cases_of(30)]
    ten = chosen(cases, 10, seed=3)
    assert len({case.request.subject for case in ten}) == 10
    assert chosen(cases, 4, seed=3) == ten[:4]
    assert chosen(cases, 10, seed=4) != ten
    with pytest.raises(ConfigError, match="there are 30 cases"):
        chosen(cases, 31, seed=3)


def test_running_text_has_no_headings_and_no_marks_of_its_own(tmp_path: Path) -> None:
    assert paragraphs(tmp_path) == []
    (tmp_path / "wikitext2").mkdir()
    long = "It is 0 @.@ 7 m ( 2 ft ) long , <unk> well @-@ known ' s . " * 9
    (tmp_path / "wikitext2" / "valid.txt").write_text(f" = A heading = \n \n {long}\n Short one . \n")
    (found,) = paragraphs(tmp_path)
    assert found.startswith("It is 0.7 m (2 ft) long, well-known")
    assert "@" not in found


def test_a_reading_is_what_the_model_says_of_the_words_that_follow(base: BaseModel) -> None:
    (case,) = cases_of(1)
    found = readings(base, [case])[0]
    with torch.no_grad():
        for prompt, target, reading in (
            (case.request.prompt, "Dutch", found.new),
            (case.request.prompt, "French", found.old),
            (case.paraphrase, "Dutch", found.paraphrase_new),
            (case.paraphrase, "French", found.paraphrase_old),
            (case.neighbour, "Dutch", found.neighbour_new),
            (case.neighbour, "Greek", found.neighbour_old),
        ):
            ids, start = base.tokens(f"{prompt} {target}"), len(base.tokens(prompt))
            scores = base.scores(base.run(base.embedded(torch.tensor([ids]))))[0].double()
            total, is_exact = 0.0, True
            for at in range(start, len(ids)):
                row = scores[at - 1]
                total += float(row[ids[at]]) - log(sum(exp(float(one)) for one in row))
                is_exact = is_exact and int(row.argmax()) == ids[at]
            assert reading.likelihood == pytest.approx(total / (len(ids) - start), abs=1e-4)
            assert reading.is_exact == is_exact
            assert reading.first == int(scores[start - 1].argmax())


def test_exact_is_what_is_generated(base: BaseModel) -> None:
    (case,) = cases_of(1)
    prompt = base.tokens(case.request.prompt)
    adapter = Grace(enough=0.95, steps=100).edit([case.request], base)
    with base.using(adapter):
        after = readings(base, [case])[0]
        said = base.generate([prompt], [adapter], max_tokens=6)[0]
    assert after.new.is_exact == (said == base.tokens(" Dutch"))
    assert after.new.is_exact
    assert not readings(base, [case])[0].new.is_exact


def test_windows_are_the_beginnings_of_paragraphs_that_are_long_enough(base: BaseModel) -> None:
    windows = windows_of(base, [*TEXT, "short"], seed=0)
    assert windows.shape == (3, WINDOW)
    assert sorted(base.text(row.tolist()) for row in windows) == sorted(text[:WINDOW] for text in TEXT)
    assert len(windows_of(base, TEXT * 30, seed=0)) == WINDOWS
    assert windows_of(base, [], seed=0).shape == (0, WINDOW)


def test_the_score_is_the_harmonic_mean_and_means_are_of_the_cases_that_have_a_metric() -> None:
    cases = {
        "a": {"efficacy": 1.0, "paraphrase": 1.0, "neighbourhood": 1.0},
        "b": {"efficacy": 1.0, "paraphrase": 0.0},
    }
    found = Outcome("rome", 2, cases, {"failed": 0.0})
    assert found.name == "rome.seq2"
    assert found.metrics()["neighbourhood"] == 1.0
    assert found.metrics()["score"] == pytest.approx(3 / (1 / 1.0 + 1 / 0.5 + 1 / 1.0))
    cases["a"]["paraphrase"] = 0.0
    assert found.metrics()["score"] == 0.0
    assert "score" not in Outcome("rome", 0, {"b": cases["b"]}).metrics()


@dataclass(frozen=True)
class Made(Editor):
    """Shouts a token everywhere, or fails."""

    token: int = 0
    size: float = 0.0
    fails: type[Exception] | None = None
    at: int = 0
    seen: tuple[list[int], ...] = ()

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> LowRank:
        for one in self.seen:
            one.append(len(base.held))
        if self.fails is not None and requests[0].subject == f"Ana{self.at}":
            raise self.fails("it cannot be edited")
        up = torch.zeros(base.vocabulary, 1)
        up[self.token] = self.size
        return LowRank({base.head_name: torch.ones(1, base.hidden_size)}, {base.head_name: up})


def test_an_editor_that_changes_nothing_is_the_unedited_model(base: BaseModel) -> None:
    steps: list[int] = []
    found = measure(base, {"idle": Made()}, cases_of(3), Asked(3, (1, 3)), TEXT, steps.append)
    rows = {one.name: one.metrics() for one in found.outcomes}
    assert list(rows) == ["base", "idle", "idle.seq1", "idle.seq3"]
    assert len(steps) == 6
    for name in ("idle", "idle.seq3"):
        for metric in ("efficacy", "efficacy_exact", "paraphrase", "paraphrase_exact"):
            assert rows[name][metric] == rows["base"][metric]
        assert rows[name]["locality"] == rows[name]["locality_text"] == rows[name]["undo_exact"] == 1.0
        assert rows[name]["ppl_drift"] == 0.0
        assert rows[name]["kb_per_edit"] == pytest.approx((base.vocabulary + base.hidden_size) * 4 / 1000)
    assert base.held == ()


def test_an_editor_that_says_one_thing_everywhere_loses_text_and_neighbours(base: BaseModel) -> None:
    token = base.tokens(" ")[0]
    editor = Made(token, 1e4)
    found = measure(base, {"loud": editor}, cases_of(4), Asked(4, (4,)), TEXT)
    for outcome in found.outcomes[1:]:
        metrics = outcome.metrics()
        assert metrics["locality_text"] < 0.9
        assert metrics["ppl_drift"] > 10.0
        assert metrics["undo_exact"] == 1.0
        # a number that JSON can hold, whatever is ruined
        assert metrics["ppl_drift"] < float("inf")


def test_edits_in_sequence_are_made_with_all_earlier_ones_held_and_single_ones_alone(base: BaseModel) -> None:
    seen: list[int] = []
    measure(base, {"idle": Made(seen=(seen,))}, cases_of(4), Asked(2, (2, 4)))
    assert seen == [0, 0, 0, 1, 2, 3]
    assert base.held == ()


def test_an_edit_that_cannot_be_made_counts_and_the_others_go_on(base: BaseModel) -> None:
    for error in (ModelError, InvalidInputError):
        found = measure(base, {"weak": Made(fails=error, at=1)}, cases_of(3), Asked(3, (3,)))
        assert [one.metrics()["failed"] for one in found.outcomes[1:]] == [1.0, 1.0]
        assert all(len(one.cases) == 3 for one in found.outcomes)


def test_an_editor_that_the_model_does_not_suit_is_left_out_and_says_why(base: BaseModel) -> None:
    editors = {"unfit": Made(fails=UnsupportedError, at=1), "idle": Made()}
    found = measure(base, editors, cases_of(2), Asked(0, (2,)))
    assert [one.name for one in found.outcomes] == ["base", "idle.seq2"]
    assert found.left_out[-1] == "unfit: it cannot be edited"
    assert base.held == ()


def test_an_error_that_nobody_expects_leaves_no_edit_behind(base: BaseModel) -> None:
    with pytest.raises(ZeroDivisionError):
        measure(base, {"wild": Made(fails=ZeroDivisionError, at=2)}, cases_of(3), Asked(0, (3,)))
    assert base.held == ()


@dataclass(frozen=True)
class Writing(Made):
    """Writes to the model itself."""

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> LowRank:
        with torch.no_grad():
            base.module(base.linear(0, "down_proj")).weight.mul_(1.001)
        return Made.edit(self, requests, base, seed=seed)


def test_an_editor_that_writes_to_the_model_is_caught() -> None:
    own = Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="tiny").base
    found = measure(own, {"writing": Writing()}, cases_of(1), Asked(1, (1,)))
    assert [one.metrics()["undo_exact"] for one in found.outcomes[1:]] == [0.0, 0.0]


def test_a_model_that_holds_an_adapter_is_not_measured(base: BaseModel) -> None:
    adapter = Made().edit([cases_of(1)[0].request], base)
    base.hold(adapter)
    try:
        with pytest.raises(InvalidInputError, match="release"):
            measure(base, {}, [], Asked(0, ()))
    finally:
        base.release(adapter)


def settings(**more: object) -> dict[str, object]:
    chosen = {"methods": ["grace", "idle"], "data_set": "counterfact", "edits": 2, "sequential": [2]}
    return {"model": "tiny", "threads": 1, **chosen, **more}


def test_the_result_has_flat_names_a_table_outcomes_and_a_plot(base: BaseModel, tmp_path: Path) -> None:
    run = measure(base, {"grace": Grace(), "idle": Made()}, cases_of(2), Asked(2, (2,)))
    result = result_of(run, settings())
    metrics = result["metrics"]
    assert {"base.efficacy", "grace.efficacy", "grace.seq2.locality", "idle.undo_exact"} <= metrics.keys()
    assert metrics["grace.efficacy"] == metrics["grace.seq2.efficacy"] == metrics["grace.locality"] == 1.0
    json.dumps(result, allow_nan=False)
    path = tmp_path / "edit.jsonl"
    path.write_text("".join(lines_of(result, run)))
    kept = read_outcomes(path)
    assert kept.questions == ("made-0", "made-1")
    assert set(kept.values) == {"base", "grace", "grace.seq2", "idle", "idle.seq2"}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(result))
    shown = console.export_text()
    assert "grace.seq2" in shown
    assert "left out: locality_text" in shown
    draw(result, tmp_path / "new" / "edit.svg")
    drawn = (tmp_path / "new" / "edit.svg").read_text()
    assert "edits in sequence" in drawn
    assert "grace" in drawn


def test_a_plot_of_single_edits_alone_can_be_drawn(base: BaseModel, tmp_path: Path) -> None:
    run = measure(base, {"grace": Grace()}, cases_of(1), Asked(1, ()))
    draw(result_of(run, settings(methods=["grace"], edits=1, sequential=[])), tmp_path / "edit.svg")
    assert "edits in sequence" not in (tmp_path / "edit.svg").read_text()
