"""A short walk over what joins the rows."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of, scores_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.graph_walk import GraphWalk

CHAIN = ("alpha bravo", "bravo charlie", "charlie delta", "echo foxtrot")


def walked(**parameters: float) -> np.ndarray:
    """Return the scores of a walk from the first row."""
    index = index_of([row_of(at, text) for at, text in enumerate(CHAIN)])
    scores = GraphWalk(of=("first",), **parameters).score(query_of("alpha"), index, {"first": scores_of(1, 0, 0, 0)})
    assert scores is not None
    return scores


def test_one_step_reaches_rows_that_share_a_rare_word() -> None:
    scores = walked(steps=1)
    assert scores[1] == pytest.approx(0.9)
    assert scores[[0, 2, 3]] == pytest.approx(0)


def test_two_steps_reach_rows_that_share_no_word_with_the_first() -> None:
    scores = walked(steps=2)
    assert 0 < scores[2] < scores[1]
    assert scores[3] == 0


def test_the_turns_beside_are_reached_and_nothing_arrives_that_did_not_start() -> None:
    rows = [row_of(at, text, session="s") for at, text in enumerate(("one", "two", "three", "four"))]
    scores = GraphWalk(of=("first",), steps=1, beside=0.4).score(
        query_of("two"), index_of(rows), {"first": scores_of(0, 1, 0, 0)}
    )
    assert scores is not None
    assert scores == pytest.approx([0.2, 0, 0.2, 0])


def test_more_edges_than_allowed_are_not_walked() -> None:
    assert walked(most_edges=2)[1] > 0
    index = index_of([row_of(at, text) for at, text in enumerate(CHAIN)])
    first = {"first": scores_of(1, 0, 0, 0)}
    assert GraphWalk(of=("first",), most_edges=1).score(query_of("alpha"), index, first) is None


def test_a_row_that_is_gone_joins_nothing_and_a_late_one_does() -> None:
    rows = [row_of(at, text) for at, text in enumerate(CHAIN)]
    index = index_of(rows, [row_of(4, "bravo golf")], [rows[1].cube_id])
    scores = GraphWalk(of=("first",)).score(query_of("alpha"), index, {"first": scores_of(1, 0, 0, 0, 0)})
    assert scores is not None
    assert scores[1] == 0
    assert scores.argmax() == 4


@pytest.mark.parametrize(
    "wrong", [{"num_rows": 0}, {"steps": 0}, {"restart": 1}, {"beside": 2}, {"most_share": 0}, {"sharpness": -1}]
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        GraphWalk(**wrong)
