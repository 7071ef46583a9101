"""Which rows are read next: learnt ones leave or stay, come back where they are lost, and are all read again."""

from collections.abc import Sequence

from engramos.parametric.writers._schedule import Schedule

ROWS = range(5)


def kept(numbers: Sequence[int]) -> list[bool]:
    return [True] * len(numbers)


def one_round(schedule: Schedule, num: int) -> list[int]:
    """Return the rows of so many steps, in order of their numbers."""
    return sorted(row for _ in range(num) for row in schedule.next(kept))


def test_a_round_has_every_row_once_in_an_order_of_its_seed() -> None:
    orders = []
    for seed in (0, 0, 1):
        schedule = Schedule(ROWS, 2, seed)
        orders.append([row for _ in range(3) for row in schedule.next(kept)])
        assert sorted(orders[-1]) == list(ROWS)
    assert orders[0] == orders[1] != orders[2]


def test_learnt_rows_leave_only_where_they_may() -> None:
    for skips, wanted in ((True, [1, 3, 4]), (False, list(ROWS))):
        schedule = Schedule(ROWS, 5, 0, skips=skips)
        assert one_round(schedule, 1) == list(ROWS)
        schedule.note([0, 2], [True, True])
        assert one_round(schedule, 1) == wanted
        assert schedule.share_done == 0.4
        assert schedule.num_rows == 5 + len(wanted)


def test_the_end_comes_when_all_are_learnt_and_kept_and_lost_rows_come_back() -> None:
    schedule = Schedule(ROWS, 5, 0, skips=True)
    schedule.next(kept)
    schedule.note(list(ROWS), [True] * 5)
    assert schedule.next(lambda numbers: [number != 3 for number in numbers]) == [3]
    schedule.note([3], [True])
    assert schedule.next(kept) == []
    schedule.again()
    assert sorted(schedule.next(kept)) == list(ROWS)
