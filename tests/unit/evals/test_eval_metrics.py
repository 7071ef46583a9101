"""Metrics against cases worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.evals.metrics import all_at, any_at, distinct, fraction_at, mean, ndcg_at, percentile, scores

RANKED = ["a", "b", "c", "d", "e", "f"]


def test_fraction_is_the_share_of_gold_units_found() -> None:
    assert fraction_at(RANKED, {"b", "f", "x", "y"}, 5) == 0.25
    assert fraction_at(RANKED, {"b", "f", "x", "y"}, 6) == 0.5


def test_any_asks_for_one_and_all_for_every_gold_unit() -> None:
    assert (any_at(RANKED, {"c", "f"}, 2), any_at(RANKED, {"c", "f"}, 3)) == (0.0, 1.0)
    assert (all_at(RANKED, {"c", "f"}, 5), all_at(RANKED, {"c", "f"}, 6)) == (0.0, 1.0)


def test_ndcg_of_two_units_at_ranks_two_and_four_is_as_by_hand() -> None:
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3)
    assert ndcg_at(RANKED, {"b", "d"}, 10) == pytest.approx(gain / ideal)
    assert ndcg_at(RANKED, {"b", "d"}, 10) == pytest.approx(0.6509, abs=1e-4)


def test_ndcg_ideal_is_cut_at_k_where_there_are_more_gold_units() -> None:
    assert ndcg_at(RANKED, {"a", "b", "c"}, 2) == 1.0


def test_a_ranking_without_a_gold_unit_scores_zero_throughout() -> None:
    assert set(scores(RANKED, {"x"}).values()) == {0.0}
    assert set(scores([], {"x"}).values()) == {0.0}


def test_a_unit_counts_at_its_first_place_only() -> None:
    assert distinct(["s1", "s2", "s1", "s3", "s2"]) == ["s1", "s2", "s3"]


def test_mean_is_over_questions_and_of_none_is_empty() -> None:
    assert mean([{"any@5": 1.0}, {"any@5": 0.0}, {"any@5": 0.0}, {"any@5": 1.0}]) == {"any@5": 0.5}
    assert mean([]) == {}


def test_percentile_interpolates_between_neighbours() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 0.95) == pytest.approx(4.8)
    assert percentile([7.0], 0.95) == 7.0


@given(st.lists(st.sampled_from("abcdefghij"), unique=True), st.sets(st.sampled_from("abcdefghij"), min_size=1))
def test_all_is_at_most_fraction_and_fraction_at_most_any(ranked: list[str], gold: set[str]) -> None:
    found = scores(ranked, gold)
    for k in (5, 10, 20):
        assert 0 <= found[f"all@{k}"] <= found[f"fraction@{k}"] <= found[f"any@{k}"] <= 1
    assert found["fraction@5"] <= found["fraction@10"] <= found["fraction@20"]
    assert 0 <= found["ndcg@10"] <= 1
