"""What a run leaves behind: every question's outcome as JSON lines, and the tables of a result."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.unit.evals.run_sample import made_run, result_for, write_outcomes

from engramos.errors import ImportFailedError, InvalidInputError, StoreError
from engramos.evals import ROLE
from engramos.evals.outcomes import read_outcomes
from engramos.evals.report import groups_of, methods_of, table, write
from engramos.evals.run import Run, metrics_of

SCORES = {"default": [1.0, 0.5, 1 / 3], "bm25": [0.0, 0.5, 1.0]}
NUMBERS = {
    "memories": 6.0,
    "ingest_per_s": 100.0,
    "search_p50_ms": 1.0,
    "search_p95_ms": 2.0,
    "search_no_embedder_p50_ms": 1.0,
    "search_no_embedder_p95_ms": 2.0,
    "context_tokens": 980.0,
    "full_context_tokens": 47_100.0,
    "stored_bytes": 6_000.0,
    "stored_bytes_per_memory": 1_000.0,
}


def whole(run: Run) -> dict:
    benchmark = ROLE.make("locomo")
    metrics = {name: metrics_of(run, benchmark, name) for name in run.asked[0].answers}
    return result_for(run) | {"metrics": metrics["default"] | NUMBERS, "baselines": {"bm25": metrics["bm25"]}}


def test_what_is_written_is_read_again_with_four_digits(tmp_path: Path) -> None:
    found = read_outcomes(write_outcomes(tmp_path / "locomo.jsonl", made_run(SCORES)))
    assert found.columns == ("turn.fraction@5", "turn.fraction@10", "turn.ndcg@10", "session.fraction@10")
    assert found.questions == ("talk.qa[0]", "talk.qa[1]", "talk.qa[2]")
    assert found.categories == (("temporal",), ("single-hop",), ("temporal",))
    np.testing.assert_allclose(found.values["default"][:, 1], SCORES["default"], atol=5e-5)
    np.testing.assert_allclose(found.values["bm25"][:, 0], [0, 0.25, 0.5])


def test_a_question_that_lacks_a_level_has_no_number_there(tmp_path: Path) -> None:
    found = read_outcomes(write_outcomes(tmp_path / "locomo.jsonl", made_run(SCORES, without_session=[1])))
    assert np.isnan(found.values["default"][:, 3]).tolist() == [False, True, False]


def test_a_line_has_the_gold_in_order_ten_found_units_and_no_words_of_the_question(tmp_path: Path) -> None:
    text = write_outcomes(tmp_path / "locomo.jsonl", made_run(SCORES)).read_text()
    row = json.loads(text.splitlines()[1])
    assert row["gold"] == ["D1:1", "D1:2"]
    assert row["found"]["bm25"] == [f"D1:{number}" for number in range(10)]
    assert "secret" not in text


def test_outcomes_are_found_from_their_folder_beside_the_result_and_packed(tmp_path: Path) -> None:
    plain = write_outcomes(tmp_path / "locomo.jsonl", made_run(SCORES))
    (tmp_path / "locomo.json").write_text("{}")
    assert read_outcomes(tmp_path).path == plain
    assert read_outcomes(tmp_path / "locomo.json").path == plain
    packed = tmp_path / "locomo.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_outcomes(tmp_path).questions == read_outcomes(tmp_path / "locomo.json").questions
    assert read_outcomes(packed).path == packed


def test_a_folder_of_several_results_asks_for_one_of_them(tmp_path: Path) -> None:
    for name in ("beam", "locomo"):
        write_outcomes(tmp_path / f"{name}.jsonl", made_run(SCORES), name)
    with pytest.raises(InvalidInputError, match=r"beam\.jsonl, locomo\.jsonl: name one file"):
        read_outcomes(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "line 1: has not the keys"),
        (lambda text: text[:-40], r"line 4: is no JSON: run the evaluation again"),
        (lambda text: "".join(text.splitlines(True)[:-1]), "of 3 questions only 2"),
        (lambda text: "[]\n", "line 1: is no JSON object"),
        (lambda text: text.replace('"question"', '"asked"'), "a question: has another format"),
        (lambda text: text.replace("[0.5,", "[0.5,0.5,"), "a question: has another format"),
    ],
)
def test_a_damaged_file_of_outcomes_is_refused_with_its_place(tmp_path: Path, change, words: str) -> None:
    path = write_outcomes(tmp_path / "locomo.jsonl", made_run(SCORES))
    path.write_text(change(path.read_text()))
    with pytest.raises(ImportFailedError, match=words):
        read_outcomes(path)


@pytest.mark.parametrize("name", ["nothing", "nothing.jsonl", "nothing.json", "."])
def test_a_result_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImportFailedError, match="is missing"):
        read_outcomes(tmp_path / name)


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "locomo.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}" * 1_000)[:20])
    with pytest.raises(ImportFailedError, match="cannot be read"):
        read_outcomes(path)


def test_a_file_where_the_folder_should_be_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        write(tmp_path / "file", whole(made_run(SCORES)), made_run(SCORES))


def test_the_tables_show_full_context_at_its_price_and_each_category() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(ROLE.make("locomo"), whole(made_run(SCORES))))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.get().splitlines()]
    assert ["full context", "1.000", "1.000", "", "47,100"] in lines
    assert ["default", "0.306", "0.611", "0.611", "980"] in lines
    assert ["bm25", "0.250", "0.500", "0.500", ""] in lines
    assert ["temporal", "2", "0.667", "0.500"] in lines


def test_categories_stand_with_those_of_their_place() -> None:
    assert groups_of(made_run(SCORES)) == [["single-hop", "temporal"]]


def test_a_baseline_that_is_measured_as_ours_is_shown_once_with_all_its_numbers() -> None:
    result = whole(made_run(SCORES))
    twice = result | {"method": "bm25", "metrics": result["baselines"]["bm25"] | NUMBERS}
    assert list(methods_of(twice)) == ["bm25"]
    assert methods_of(twice)["bm25"]["context_tokens"] == 980.0
