"""Sessions first, then windows, then turns."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.levels import Levels

ROWS = [row_of(at, f"text {at}", session=f"s{at // 4}") for at in range(16)]
FIRST = np.array([0.9, 0, 0, 0, 0.7, 0.8, 0.8, 0, 0.1, 0, 0, 0, 0, 0, 0, 0], dtype=np.float32)


def scored(**parameters: int) -> np.ndarray | None:
    """Return the scores of four sessions of four turns."""
    return Levels(of=("first",), **parameters).score(query_of("text"), index_of(ROWS), {"first": FIRST})


def test_a_session_that_is_not_chosen_has_no_turns() -> None:
    one, two = scored(num_sessions=1), scored(num_sessions=2)
    assert one is not None
    assert two is not None
    assert one[0] == 0 < two[0]
    assert one[5] > 0


def test_a_window_that_is_not_chosen_has_no_turns() -> None:
    scores = scored(num_windows=1, window=1)
    assert scores is not None
    assert np.flatnonzero(scores).tolist() == [5]


def test_rows_of_no_session_and_one_session_alone_have_no_levels() -> None:
    index = index_of([row_of(0, "text", session="s"), row_of(1, "text")])
    first = {"first": np.array([1, 0.5], dtype=np.float32)}
    assert Levels(of=("first",)).score(query_of("text"), index, first) is None


@pytest.mark.parametrize("wrong", [{"num_sessions": 0}, {"num_windows": 0}, {"window": 0}])
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Levels(**wrong)
