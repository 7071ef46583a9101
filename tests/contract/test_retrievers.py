"""Every retriever keeps the promise of its role, over indexes small and odd."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers import ROLE
from engramos.plaintext.retrievers.base import Retriever

TEXTS = (
    "Have you seen the film Nightfall by Kemeny?",
    "Yes, Kemeny made it in Szeged, where I prefer to live.",
    "Szeged lies on the Tisza.",
    "I baked bread with walnuts and honey.",
    "Which bread?",
    "",
    "The Tisza was high in May, and the walnuts were ripe.",
)
QUESTIONS = ("Where did Anna hear of Kemeny and the Tisza?", "what do I prefer", "?", "Tell me about walnuts")
EARLIER = (("lexical", "lexical"), ("lexical_near", "lexical"), ("dense", "dense"), ("dense_near", "neighbours"))


@cache
def made(name: str) -> Retriever:
    """Return a retriever with its own defaults; looking one up reads the folder each time."""
    return ROLE.make(name)


def rows_of(*, has_vectors: bool, has_sessions: bool) -> list:
    """Return one row a text, in two sessions."""
    vectors = np.random.default_rng(5).normal(size=(len(TEXTS), 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        row_of(
            at,
            text,
            session=f"s{at // 4}" if has_sessions else None,
            speaker=("Anna", "Bo Li")[at % 2] if has_sessions else None,
            vector=vectors[at] if has_vectors else None,
        )
        for at, text in enumerate(TEXTS)
    ]


def asked(text: str, has_vectors: bool) -> Query:
    """Return a question with a vector where the rows have one."""
    return query_of(text, np.full(8, 8**-0.5) if has_vectors else None)


def found_by_earlier_steps(query: Query, index: SearchIndex) -> dict[str, np.ndarray]:
    """Return the scores of the steps that others build on."""
    found: dict[str, np.ndarray] = {}
    for name, method in EARLIER:
        scores = made(method).score(query, index, found)
        if scores is not None:
            found[name] = scores
    return found


def checked(method: Retriever, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the scores after checking all that the role promises of them."""
    before = {name: scores.copy() for name, scores in found.items()}
    scores, again = method.score(query, index, found), method.score(query, index, found)
    assert all((found[name] == before[name]).all() for name in before), "an earlier step's scores were changed"
    if scores is None:
        assert again is None
        return None
    assert again is not None
    assert scores.dtype == np.float32
    assert scores.shape == (len(index),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores == again).all()
    return scores


@pytest.mark.parametrize("has_sessions", [True, False])
@pytest.mark.parametrize("has_vectors", [True, False])
@pytest.mark.parametrize("name", ROLE.names())
def test_scores_are_one_number_a_row_finite_not_negative_and_the_same_twice(
    name: str, has_vectors: bool, has_sessions: bool
) -> None:
    index = index_of(rows_of(has_vectors=has_vectors, has_sessions=has_sessions))
    for question in QUESTIONS:
        query = asked(question, has_vectors)
        checked(made(name), query, index, found_by_earlier_steps(query, index))


@pytest.mark.parametrize("name", ROLE.names())
def test_an_index_that_changed_is_scored_as_one_that_is_new(name: str) -> None:
    rows = rows_of(has_vectors=True, has_sessions=True)
    extra = row_of(90, "Kemeny and walnuts", session="s9", vector=np.eye(1, 8)[0])
    changed, new = index_of([*rows[:5], extra], rows[5:], [extra.cube_id]), index_of(rows)
    query = asked(QUESTIONS[0], True)
    method = made(name)
    late = checked(method, query, changed, found_by_earlier_steps(query, changed))
    fresh = checked(method, query, new, found_by_earlier_steps(query, new))
    assert (late is None) == (fresh is None)
    if late is not None and fresh is not None:
        assert (late[np.delete(np.arange(8), 5)] > 0).tolist() == (fresh > 0).tolist()


@pytest.mark.parametrize("name", ROLE.names())
def test_an_empty_index_one_row_and_one_that_is_gone_are_no_failure(name: str) -> None:
    method = made(name)
    row = rows_of(has_vectors=True, has_sessions=True)[0]
    for index in (index_of([]), index_of([row]), index_of([row], gone=[row.cube_id])):
        for question in QUESTIONS:
            query = asked(question, True)
            checked(method, query, index, found_by_earlier_steps(query, index))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_retriever_that_no_earlier_step_helps_does_not_fail(name: str) -> None:
    index = index_of(rows_of(has_vectors=True, has_sessions=True))
    checked(made(name), asked(QUESTIONS[0], True), index, {})


@pytest.mark.parametrize(
    "name", ["expansion", "dense_expansion", "graph_walk", "evidence_pool", "granularity", "levels"]
)
def test_a_method_that_searches_again_says_nothing_where_nothing_was_found(name: str) -> None:
    index = index_of(rows_of(has_vectors=True, has_sessions=True))
    assert made(name).score(asked(QUESTIONS[0], True), index, {}) is None
