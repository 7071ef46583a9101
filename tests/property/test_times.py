import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engramos.plaintext.time_phrases import READERS
from engramos.plaintext.times import Anchored, TimeRange, find_times

NOW = datetime(2023, 8, 14, 14, 24, tzinfo=UTC)
MORE = """
    in on at since before after until by from to between and of ago or through during around prior as - , . ? ' every
    when did he trip her now back Sat Sun May 2 8th 31 29 05/08/2023 2023-05-08 2022 0001 9999 90s 3-7 1,000 999999
    weeks months years days decades hours
"""
WORDS = sorted(READERS) + MORE.split()
CLOCKS = st.datetimes(timezones=st.timezones() | st.just(UTC))
TEXTS = st.text() | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def check(reading: TimeRange, question: str | None) -> None:
    assert reading.start < reading.end
    assert reading.start.tzinfo is UTC
    assert reading.end.tzinfo is UTC
    assert question is None or reading.text in question


@given(question=TEXTS, now=CLOCKS, at=CLOCKS)
@example(question="next year", now=datetime.max.replace(tzinfo=UTC), at=NOW)
@example(question="10,000 years ago", now=NOW, at=NOW)
@example(question="²  ago ٣ days ago", now=NOW, at=NOW)
@example(question="900000 days before the trip", now=NOW, at=datetime.min.replace(tzinfo=UTC))
@example(question="before the trip", now=NOW, at=datetime.min.replace(tzinfo=UTC))
@example(question="after the trip", now=NOW, at=datetime.max.replace(tzinfo=UTC))
def test_any_text_gives_ranges_in_utc_that_begin_before_they_end(question, now, at):
    for reading in find_times(question, now):
        if isinstance(reading, Anchored):
            assert reading.anchor in reading.text
            assert reading.direction in {"before", "after", "around"}
            check(reading.resolve(at), question)
        else:
            check(reading, question)


@given(question=TEXTS, now=CLOCKS)
def test_readings_do_not_overlap_and_come_in_order(question, now):
    place = 0
    for reading in find_times(question, now):
        place = question.index(reading.text, place) + len(reading.text)
    assert find_times(question, now) == find_times(question, now)


@given(days=st.integers(0, 700_000))
def test_days_ago_are_counted_exactly(days):
    (reading,) = find_times(f"What did I do {days} days ago?", NOW)
    assert reading.start == datetime(2023, 8, 14, tzinfo=UTC) - timedelta(days=days)
    assert reading.end - reading.start == timedelta(days=1)


@given(day=st.datetimes(datetime(1000, 1, 1), datetime(2999, 12, 31)))
def test_every_way_to_write_a_date_gives_the_same_day(day):
    month, ways = f"{day:%B}", set()
    for text in (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{day:%Y-%m-%d}",
        f"{day:%d.%m.%Y}",
    ):
        (reading,) = find_times(f"Where was I on {text}?", NOW)
        ways.add((reading.start, reading.end))
    start = day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    assert ways == {(start, start + timedelta(days=1))}


def steps_for(question: str) -> int:
    """Return how many calls a reading takes: a measure of work that no other process disturbs."""
    steps = 0

    def count(_frame, event, _argument):
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        find_times(question, NOW)
    finally:
        sys.setprofile(None)
    return steps


@pytest.mark.parametrize(
    "unit",
    [
        "two weeks before the trip in May 2023, ",
        "1 ",
        "1-",
        "the ",
        "last ",
        "the week before ",
        "end of ",
        "after x ",
        ".",
    ],
)
def test_no_text_takes_more_than_linear_time(unit):
    short, long = (steps_for((unit * size)[:size]) for size in (4_000, 16_000))
    assert long < 4 * short * 1.5 + 1_000
