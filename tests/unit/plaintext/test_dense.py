"""Dense retrieval: exact where it can be, and by codes as near to exact as they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.errors import ConfigError, MissingExtraError
from engramos.plaintext.codes import ROLE as CODES
from engramos.plaintext.codes.base import Coded
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.dense import Dense
from engramos.plaintext.terms import pack
from engramos.rows import IndexDelta, IndexRow
from engramos.testing.clock import START

DIMS = 384


def units(seed: int, num: int, dims: int = DIMS) -> np.ndarray:
    """Return unit vectors around twenty centres, as texts about twenty subjects would have."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((20, dims))
    rows = centres[random.integers(0, 20, num)] + random.standard_normal((num, dims))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16).astype(np.float32)


def row(number: int, vector: np.ndarray | None) -> IndexRow:
    halves = None if vector is None else vector.astype("<f2").tobytes()
    times = (number, None, None, None)
    return IndexRow(f"{number:026d}", 1, None, None, None, "episode", *times, 1.0, None, "", pack({}), halves, number)


def index_of(vectors: np.ndarray, at_once: int) -> SearchIndex:
    """Return an index that starts with some rows and is given the others one by one."""
    rows = [row(number, vector) for number, vector in enumerate(vectors)]
    index = SearchIndex()
    index.apply(IndexDelta(1, True, tuple(rows[:at_once])))
    for seq, one in enumerate(rows[at_once:], start=2):
        index.apply(IndexDelta(seq, False, (one,)))
    return index


def asked(vector: np.ndarray, allowed: np.ndarray | None = None) -> Query:
    return Query("?", {}, (), vector, START, (), allowed)


def test_a_small_memory_is_scored_exactly_whatever_the_codes() -> None:
    vectors = units(1, 500)
    scores = Dense(codes="sign").score(asked(vectors[3]), index_of(vectors, 500), {})
    assert np.allclose(scores, np.maximum(vectors @ vectors[3], 0), atol=1e-6)


@pytest.mark.parametrize("at_once", [0, 1, 900, 1_500])
def test_rows_that_come_later_are_scored_as_rows_that_were_there(at_once: int) -> None:
    vectors = units(2, 1_500)
    index = index_of(vectors, at_once)
    for codes in ("none", "int8", "sign"):
        method = Dense(codes=codes, coded_from=0, rescored=50)
        early = method.score(asked(vectors[7]), index_of(vectors, 1_500), {})
        index.coded("sign").score(index.vectors, vectors[0])
        assert np.array_equal(method.score(asked(vectors[7]), index, {}), early)


def test_the_best_by_bytes_are_the_best_exactly_in_the_same_order() -> None:
    vectors, questions = units(3, 6_000), units(4, 40)
    index = index_of(vectors, 6_000)
    method = Dense(codes="int8", coded_from=0)
    for question in questions:
        exact = np.maximum(index.vectors @ question, 0)
        scores = method.score(asked(question), index, {})
        assert np.array_equal(np.argsort(-scores, kind="stable")[:20], np.argsort(-exact, kind="stable")[:20])
        assert np.abs(scores - exact).max() < 0.01


def test_signs_find_most_of_the_best_and_score_them_exactly() -> None:
    vectors, questions = units(3, 6_000), units(4, 40)
    index, shares = index_of(vectors, 6_000), []
    for question in questions:
        exact = index.vectors @ question
        best = set(np.argsort(-exact)[:10].tolist())
        scores = Dense(codes="sign", coded_from=0, rescored=1_000).score(asked(question), index, {})
        found = np.argsort(-scores)[:10]
        shares.append(len(best & set(found.tolist())) / 10)
    assert np.mean(shares) >= 0.9


def test_the_best_of_the_allowed_rows_are_scored_exactly() -> None:
    vectors = units(5, 3_000)
    index, question = index_of(vectors, 3_000), units(6, 1)[0]
    allowed = np.zeros(3_000, dtype=np.bool_)
    allowed[np.argsort(vectors @ question)[:200]] = True
    scores = Dense(codes="sign", coded_from=0, rescored=200).score(asked(question, allowed), index, {})
    assert np.allclose(scores[allowed], np.maximum(vectors[allowed] @ question, 0), atol=1e-6)


def test_a_row_without_a_vector_scores_nothing() -> None:
    vectors = units(7, 300)
    rows = [row(number, None if number % 3 == 0 else vector) for number, vector in enumerate(vectors)]
    index = SearchIndex()
    index.apply(IndexDelta(1, True, tuple(rows)))
    for codes in ("none", "int8", "sign"):
        scores = Dense(codes=codes, coded_from=0, rescored=10).score(asked(vectors[1]), index, {})
        assert not scores[::3].any()
        assert scores.argmax() == 1


def test_a_question_of_other_dimensions_is_none_of_its_business() -> None:
    index = index_of(units(8, 10), 10)
    assert Dense().score(asked(np.ones(3, dtype=np.float32)), index, {}) is None
    assert Dense().score(Query("?", {}, (), None, START), index, {}) is None


@pytest.mark.parametrize("wrong", [{"codes": "int9"}, {"rescored": 0}, {"coded_from": -1}, {"near": 0}])
def test_a_parameter_that_does_not_fit_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Dense(**wrong)


def test_bytes_without_their_package_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numkong", None)
    with pytest.raises(MissingExtraError, match=r"engramos\[codes\]"):
        Coded(CODES.make("int8")).score(units(9, 5), units(9, 1)[0])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(CODES.names()), st.integers(1, 200), st.sampled_from([1, 7, 64, 100]), st.integers(0, 99))
def test_codes_of_any_shape_know_a_vector_again(name: str, num: int, dims: int, seed: int) -> None:
    vectors = units(seed, num, dims)
    coded = Coded(CODES.make(name))
    first = coded.score(vectors[: num // 2 + 1], vectors[0])
    scores = coded.score(vectors, vectors[0])
    assert np.array_equal(scores[: len(first)], first)
    assert scores.shape == (num,)
    assert scores.dtype == np.float32
    assert scores[0] >= scores.max() - 0.05
