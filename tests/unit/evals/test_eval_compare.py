"""Paired significance: intervals and p that can be checked by hand or by counting, and runs that do not match."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.evals.run_sample import made_run, outcomes_of, write_outcomes

from engramos.errors import InvalidInputError
from engramos.evals.compare import compare, interval, sign_flip, tables
from engramos.evals.outcomes import read_outcomes


def exact_p(differences: list[float]) -> float:
    seen = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    return np.mean([abs(np.dot(row, differences)) >= seen - 1e-9 for row in signs])


@pytest.mark.parametrize("differences", [[1, 1, 1, 1, 1, 0, -1], [0.5, 0.25, -0.1, 0.3, 0.9, 0.2], [1, -1, 0, 0]])
def test_p_is_the_share_of_all_signs_that_are_as_far_from_zero(differences: list[float]) -> None:
    (p,) = sign_flip(np.array(differences, float)[:, None])
    assert p == pytest.approx(exact_p(differences), abs=0.02)


def test_no_difference_at_all_has_p_one_and_an_interval_of_zero() -> None:
    differences = np.zeros((50, 1))
    assert sign_flip(differences).tolist() == [1.0]
    assert interval(differences).tolist() == [[0.0], [0.0]]


def test_the_interval_is_that_of_the_normal_law_for_many_questions() -> None:
    differences = np.random.default_rng(3).normal(0.1, 1, (2_000, 2))
    half = 1.96 * differences.std(axis=0) / np.sqrt(2_000)
    low, high = interval(differences)
    np.testing.assert_allclose(low, differences.mean(axis=0) - half, atol=0.004)
    np.testing.assert_allclose(high, differences.mean(axis=0) + half, atol=0.004)


def test_alike_methods_get_a_small_p_about_as_often_as_it_says() -> None:
    differences = np.random.default_rng(5).choice([-1.0, 0.0, 1.0], (100, 400))
    assert 0.02 <= np.mean(sign_flip(differences, resamples=1_000) < 0.05) <= 0.08


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=12))
def test_the_interval_lies_within_the_differences_and_turns_with_their_sign(values: list[float]) -> None:
    differences = np.array(values)[:, None]
    low, high = interval(differences, resamples=500)
    assert min(values) <= low <= high <= max(values)
    np.testing.assert_allclose(interval(-differences, resamples=500), np.stack([-high, -low]))
    assert sign_flip(differences, resamples=500) == sign_flip(-differences, resamples=500)


def test_two_methods_of_one_run_are_compared_question_by_question(tmp_path: Path) -> None:
    run = outcomes_of(tmp_path / "locomo.jsonl", default=[1, 1, 1, 0.5] * 10, bm25=[0, 1, 0, 1] * 10)
    found = compare(run, run, against="bm25")
    assert (found["benchmark"], found["questions"], found["resamples"]) == ("locomo", 40, 10_000)
    assert (found["of"]["method"], found["against"]["method"]) == ("default", "bm25")
    row = found["metrics"]["turn.fraction@10"]
    assert (row["of"], row["against"], row["difference"]) == (0.875, 0.5, 0.375)
    assert (row["better"], row["worse"], row["equal"]) == (20, 10, 10)
    assert row["low"] < 0.375 < row["high"]
    assert row["p"] < 0.05
    assert found["categories"]["temporal"]["turn.fraction@10"]["difference"] == 1.0
    assert found == compare(run, run, against="bm25"), "the same files give other numbers"
    back = compare(run, run, of="bm25", against="default")["metrics"]["turn.fraction@10"]
    assert (back["difference"], back["better"], back["worse"], back["p"]) == (-0.375, 10, 20, row["p"])


def test_the_order_of_the_questions_does_not_matter(tmp_path: Path) -> None:
    first = outcomes_of(tmp_path / "a" / "locomo.jsonl", default=[1, 0.5, 0, 0])
    lines = (tmp_path / "a" / "locomo.jsonl").read_text().splitlines(True)
    (tmp_path / "b.jsonl").write_text("".join([lines[0], *reversed(lines[1:])]))
    row = compare(first, read_outcomes(tmp_path / "b.jsonl"))["metrics"]["turn.ndcg@10"]
    assert (row["difference"], row["equal"], row["p"]) == (0, 4, 1)


def test_a_metric_counts_the_questions_that_have_it(tmp_path: Path) -> None:
    run = made_run({"default": [1.0, 1.0, 1.0], "bm25": [0.0, 0.0, 1.0]}, without_session=[1])
    outcomes = read_outcomes(write_outcomes(tmp_path / "locomo.jsonl", run))
    found = compare(outcomes, outcomes, against="bm25")["metrics"]
    assert (found["session.fraction@10"]["better"], found["session.fraction@10"]["equal"]) == (1, 1)
    assert found["turn.fraction@10"]["better"] == 2
    assert list(found) == list(outcomes.columns)


def test_without_methods_each_runs_own_is_taken_and_of_counts_for_both(tmp_path: Path) -> None:
    first = outcomes_of(tmp_path / "a.jsonl", default=[1, 0], bm25=[0, 0])
    second = outcomes_of(tmp_path / "b.jsonl", default=[0, 0], bm25=[1, 1])
    assert compare(first, second)["metrics"]["turn.fraction@10"]["difference"] == 0.5
    assert compare(first, second, of="bm25")["metrics"]["turn.fraction@10"]["difference"] == -1.0


def test_runs_that_do_not_match_are_refused_by_name(tmp_path: Path) -> None:
    first = outcomes_of(tmp_path / "a.jsonl", default=[1, 0, 1])
    fewer = outcomes_of(tmp_path / "b.jsonl", default=[1, 0])
    other = read_outcomes(write_outcomes(tmp_path / "c.jsonl", made_run({"default": [1.0]}), "beam"))
    with pytest.raises(
        InvalidInputError, match=r"1 of 3 questions of .*a\.jsonl are missing in .* such as talk\.qa\[2"
    ):
        compare(first, fewer)
    with pytest.raises(InvalidInputError, match=r"0 of 2 questions .* and 1 of 3 the other way"):
        compare(fewer, first)
    with pytest.raises(InvalidInputError, match=r"benchmark locomo and .*c\.jsonl of beam"):
        compare(first, other)
    with pytest.raises(InvalidInputError, match="no method 'dense': choose one of default"):
        compare(first, first, against="dense")
    with pytest.raises(InvalidInputError, match="against itself: add --against METHOD"):
        compare(first, first)


def test_the_table_names_the_methods_or_the_runs(tmp_path: Path) -> None:
    first = outcomes_of(tmp_path / "a.jsonl", default=[1, 0], bm25=[0, 0])
    second = outcomes_of(tmp_path / "b.jsonl", default=[0, 0], bm25=[1, 1])
    whole, by_category = tables(compare(first, first, against="bm25"), ("fraction@10",))
    assert [column.header for column in whole.columns][1:3] == ["default", "bm25"]
    assert list(by_category.columns[0].cells) == ["single-hop", "temporal"]
    (between,) = tables(compare(first, second), ())
    assert [column.header for column in between.columns][1:3] == ["A", "B"]
    assert "a.jsonl against default of" in str(between.title)
