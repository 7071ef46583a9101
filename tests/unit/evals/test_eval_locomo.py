"""Reading LoCoMo: which turns a question's evidence means, and what is refused."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos.errors import ImportFailedError, UnknownMethodError
from engramos.evals import ROLE
from engramos.evals.benchmarks.locomo import read_evidence

_spec = importlib.util.spec_from_file_location("locomo_sample", Path(__file__).with_name("locomo_sample.py"))
locomo_sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(locomo_sample)


@pytest.mark.parametrize(
    ("written", "turns", "is_repaired"),
    [
        (["D1:3", "D2:4"], {"D1:3", "D2:4"}, False),
        (["D8:6; D9:17"], {"D8:6", "D9:17"}, True),
        (["D:11:26"], {"D11:26"}, True),
        (["D30:05"], {"D30:5"}, True),
        (["D1:18", "D", "D1:20"], {"D1:18", "D1:20"}, True),
        (["D4:5 D4:7"], {"D4:5", "D4:7"}, True),
        ([], set(), False),
        (None, set(), False),
    ],
)
def test_evidence_is_read_by_rule(written: object, turns: set[str], is_repaired: bool) -> None:
    assert read_evidence(written) == (turns, is_repaired)


def test_questions_without_evidence_are_dropped_and_repairs_are_counted(tmp_path: Path) -> None:
    loaded = ROLE.make("locomo").load(locomo_sample.write_sample(tmp_path))
    assert loaded.counts == {"questions": 6, "repaired": 3, "dropped": 1, "unknown_evidence": 1}
    assert [question.categories[0] for question in loaded.questions] == [
        "single-hop",
        "multi-hop",
        "single-hop",
        "temporal",
        "adversarial",
    ]
    second = loaded.questions[1]
    assert second.gold == {"turn": {"D1:1", "D1:3"}, "session": {"talk-1/session_1"}}
    assert second.asked_at == datetime(2023, 6, 2, 9, 10, 2, tzinfo=UTC)


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"is missing: get locomo10\.json"):
        ROLE.make("locomo").load(tmp_path)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = locomo_sample.write_sample(tmp_path) / "locomo" / "locomo10.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImportFailedError, match="is cut off here"):
        ROLE.make("locomo").load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_id": 7}, "no 'sample_id'"),
        ({"qa": {}}, "no list of questions"),
        ({"qa": [{"answer": "x"}]}, "has no 'question'"),
        ({"qa": [{"question": "x", "category": 9}]}, "category 9"),
        ({"qa": []}, "no question has evidence"),
        ({"conversation": {"session_1": [{"speaker": "Ana"}]}}, "copy the file again"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_place(tmp_path: Path, change: dict, words: str) -> None:
    locomo_sample.write_sample(tmp_path, [locomo_sample.sample() | change])
    with pytest.raises(ImportFailedError, match=words):
        ROLE.make("locomo").load(tmp_path)


def test_a_top_level_that_is_no_list_of_samples_is_refused(tmp_path: Path) -> None:
    locomo_sample.write_sample(tmp_path, {"version": 2})
    with pytest.raises(ImportFailedError, match="top level"):
        ROLE.make("locomo").load(tmp_path)


def test_an_unknown_benchmark_names_the_known_ones() -> None:
    with pytest.raises(UnknownMethodError, match="locomo"):
        ROLE.make("locomoo")
