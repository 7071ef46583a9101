"""Three granularities, weighed by how sure each is."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.granularity import Granularity

ROWS = [row_of(at, f"text {at}", session=f"s{at // 4}") for at in range(16)]


def scored(first: np.ndarray, **parameters: float) -> np.ndarray | None:
    """Return the scores of four sessions of four turns."""
    return Granularity(of=("first",), **parameters).score(query_of("text"), index_of(ROWS), {"first": first})


def test_turns_beside_a_hit_stand_above_turns_of_its_session_and_those_above_the_rest() -> None:
    scores = scored(np.eye(1, 16, 4, dtype=np.float32)[0], window=1)
    assert scores is not None
    assert scores[4] > scores[5] > scores[7] > scores[8] == 0


def test_where_no_turn_stands_out_but_a_session_does_the_session_counts_most() -> None:
    first = np.full(16, 0.5, dtype=np.float32)
    first[4:8] = 0.55
    first[0] = 0.55
    scores = scored(first, window=1)
    assert scores is not None
    assert scores[5] > scores[0]


def test_one_session_has_no_granularities() -> None:
    index = index_of([row_of(at, "text", session="s") for at in range(3)])
    first = {"first": np.array([1, 0, 0], dtype=np.float32)}
    assert Granularity(of=("first",)).score(query_of("text"), index, first) is None


@pytest.mark.parametrize("wrong", [{"window": 0}, {"temperature": 0}])
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Granularity(**wrong)
