"""What the first hits mean beyond the question."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of, scores_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.dense_expansion import DenseExpansion

VECTORS = ((0.8, 0.6, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))


def score_of(first: np.ndarray, **parameters: float) -> np.ndarray | None:
    """Return the scores of a question along the first axis."""
    index = index_of([row_of(at, "text", vector=vector) for at, vector in enumerate(VECTORS)])
    return DenseExpansion(of=("first",), **parameters).score(query_of("text", (1, 0, 0)), index, {"first": first})


def test_what_a_hit_says_beyond_the_question_finds_the_next_row() -> None:
    scores = score_of(scores_of(1, 0, 0, 0), covered=1.0)
    assert scores is not None
    assert scores.argmax() == 1
    assert scores[3] == pytest.approx(0, abs=1e-3)


def test_what_the_question_says_counts_where_it_is_not_taken_away() -> None:
    scores = score_of(scores_of(1, 0, 0, 0), covered=0.0)
    assert scores is not None
    assert scores[3] == pytest.approx(0.8, abs=1e-2)


def test_a_hit_alone_does_not_find_itself() -> None:
    scores = score_of(scores_of(1, 0, 0, 0))
    assert scores is not None
    assert scores[0] == 0


def test_hits_that_say_nothing_beyond_the_question_are_no_second_query() -> None:
    assert score_of(scores_of(0, 0, 0, 1), covered=1.0) is None


@pytest.mark.parametrize("wrong", [{"num_rows": 0}, {"covered": 1.5}, {"sharpness": -1}])
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        DenseExpansion(**wrong)
