"""When facts come back, and what a sequence of writes has kept: examples counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.retention import Schedule, average_accuracy, backward_transfer, due, forward_transfer

THREE = [[0.9, 0.1, 0.0], [0.6, 1.0, 0.3], [0.5, 0.7, 0.8]]
"""After each of three writes, the accuracy on the facts of each."""


def exposures_of(schedule: Schedule, num_writes: int) -> list[int]:
    """Return in which writes a fact is trained that is written in write 0."""
    found = [0]
    for write in range(1, num_writes):
        if schedule.due(len(found), write - found[-1]):
            found.append(write)
    return found


def test_a_fact_comes_back_after_one_two_four_and_eight_writes() -> None:
    assert exposures_of(Schedule(), 40) == [0, 1, 3, 7, 15, 31]


def test_without_growth_a_fact_comes_back_evenly() -> None:
    assert exposures_of(Schedule(first=3, growth=1.0), 12) == [0, 3, 6, 9]


def test_growth_may_be_any_number_and_intervals_are_whole() -> None:
    assert [Schedule(first=2, growth=1.5).interval(one) for one in (1, 2, 3, 4, 5)] == [2, 3, 4, 7, 10]


def test_no_interval_is_over_the_longest() -> None:
    schedule = Schedule(longest=10)
    assert [schedule.interval(one) for one in (4, 5, 6, 10**9)] == [8, 10, 10, 10]


def test_a_fact_that_was_never_written_is_due_and_has_no_interval() -> None:
    assert due(0, 1)
    with pytest.raises(InvalidInputError, match="never written"):
        Schedule().interval(0)


def test_the_default_schedule_counts_from_the_last_exposure() -> None:
    assert due(1, 1)
    assert not due(2, 1)
    assert due(2, 2)
    assert not due(4, 7)
    assert due(4, 8)


@given(st.integers(1, 9), st.floats(1, 4), st.integers(9, 99), st.integers(1, 60))
def test_intervals_never_shrink_and_stay_in_their_bounds(first: int, growth: float, longest: int, num: int) -> None:
    schedule = Schedule(first, growth, longest)
    assert first <= schedule.interval(num) <= schedule.interval(num + 1) <= longest


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("first", 0), ("growth", 0.9), ("growth", float("nan")), ("growth", float("inf")), ("longest", 0)],
)
def test_a_schedule_that_cannot_be_is_refused(parameter: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{parameter} is "):
        Schedule(**{parameter: value})


def test_average_accuracy_is_the_mean_of_the_last_row() -> None:
    assert average_accuracy(THREE) == pytest.approx((0.5 + 0.7 + 0.8) / 3)
    assert average_accuracy([[0.25]]) == 0.25


def test_backward_transfer_is_what_earlier_facts_have_lost() -> None:
    # the first fell from .9 to .5, the second from 1 to .7; the third cannot have fallen
    assert backward_transfer(THREE) == pytest.approx((-0.4 - 0.3) / 2)


def test_forward_transfer_is_what_was_known_too_early() -> None:
    # before its write the second was at .1 and the third at .3; untrained they were at .05 and .3
    assert forward_transfer(THREE, [0.9, 0.05, 0.3]) == pytest.approx((0.05 + 0.0) / 2)


def test_nothing_lost_and_nothing_leaked_is_zero() -> None:
    kept = [[1.0, 0.0], [1.0, 1.0]]
    assert (backward_transfer(kept), forward_transfer(kept, [0.0, 0.0])) == (0.0, 0.0)


@pytest.mark.parametrize("measure", [backward_transfer, lambda found: forward_transfer(found, [0.5])])
def test_transfer_of_a_single_write_is_refused(measure) -> None:
    with pytest.raises(InvalidInputError, match="2 or more"):
        measure([[1.0]])


@pytest.mark.parametrize("found", [[], [[0.5, 0.5]], [[0.5, 0.5], [0.5]], [[1.1]], [[float("nan")]], [[-0.1]]])
def test_accuracies_that_cannot_be_are_refused(found: list[list[float]]) -> None:
    with pytest.raises(InvalidInputError):
        average_accuracy(found)


def test_accuracies_before_training_must_fit() -> None:
    for untrained in ([0.1, 0.2], [0.1, 0.2, 1.5]):
        with pytest.raises(InvalidInputError, match="before training"):
            forward_transfer(THREE, untrained)
