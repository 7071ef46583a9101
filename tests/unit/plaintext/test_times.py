from datetime import UTC, datetime, timedelta, timezone

import pytest

from engramos.errors import InvalidInputError
from engramos.plaintext.time_words import holiday_span
from engramos.plaintext.times import Anchored, TimeRange, contains_time, find_times

MONDAY = datetime(2023, 8, 14, 14, 24, tzinfo=UTC)
MIN = datetime.min.replace(tzinfo=UTC)
MAX = datetime.max.replace(tzinfo=UTC)


def at(text: str) -> datetime:
    if text in {"min", "max"}:
        return MIN if text == "min" else MAX
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# question, start, end; asked on Monday, 14 August 2023, 14:24
RANGES = """
What did I do last May? | 2023-05-01 | 2023-06-01
What did I do last August? | 2022-08-01 | 2022-09-01
What did I do in May? | 2023-05-01 | 2023-06-01
What did I do in September? | 2022-09-01 | 2022-10-01
What happens next May? | 2024-05-01 | 2024-06-01
What did I plan for this May? | 2023-05-01 | 2023-06-01
Where were we in May 2023? | 2023-05-01 | 2023-06-01
Where were we in may of 2022? | 2022-05-01 | 2022-06-01
Where were we in May last year? | 2022-05-01 | 2022-06-01
the month of May | 2023-05-01 | 2023-06-01
Which cities did he visit in 2022? | 2022-01-01 | 2023-01-01
the year 2022 | 2022-01-01 | 2023-01-01
Who won the 2022 marathon? | 2022-01-01 | 2023-01-01
on 8 May 2023 | 2023-05-08 | 2023-05-09
8th of May, 2023 | 2023-05-08 | 2023-05-09
the eighth of May | 2023-05-08 | 2023-05-09
May 8 | 2023-05-08 | 2023-05-09
December 24 | 2022-12-24 | 2022-12-25
May 8th, 2023 | 2023-05-08 | 2023-05-09
Sept. 8, 2022 | 2022-09-08 | 2022-09-09
8 Dec 2022 | 2022-12-08 | 2022-12-09
1:56 pm on 8 May, 2023 | 2023-05-08 | 2023-05-09
2023-05-08 | 2023-05-08 | 2023-05-09
2023/05/08 | 2023-05-08 | 2023-05-09
in 2023-05 | 2023-05-01 | 2023-06-01
05/08/2023 | 2023-05-08 | 2023-05-09
25/08/2023 | 2023-08-25 | 2023-08-26
08.05.2023 | 2023-05-08 | 2023-05-09
5/8/99 | 1999-05-08 | 1999-05-09
Friday, 5 May 2023 | 2023-05-05 | 2023-05-06
on the 3rd | 2023-08-03 | 2023-08-04
on the 20th | 2023-07-20 | 2023-07-21
Fourth of July | 2023-07-04 | 2023-07-05
yesterday | 2023-08-13 | 2023-08-14
today | 2023-08-14 | 2023-08-15
What's up tomorrow? | 2023-08-15 | 2023-08-16
the day before yesterday | 2023-08-12 | 2023-08-13
the day after tomorrow | 2023-08-16 | 2023-08-17
last night | 2023-08-13T18:00 | 2023-08-14T06:00
the night before last | 2023-08-12T18:00 | 2023-08-13T06:00
tonight | 2023-08-14T18:00 | 2023-08-15T06:00
this morning | 2023-08-14T05:00 | 2023-08-14T12:00
yesterday evening | 2023-08-13T18:00 | 2023-08-14
the morning of 8 May 2023 | 2023-05-08T05:00 | 2023-05-08T12:00
last week | 2023-08-07 | 2023-08-14
this week | 2023-08-14 | 2023-08-21
the week before last | 2023-07-31 | 2023-08-07
last weekend | 2023-08-12 | 2023-08-14
this weekend | 2023-08-19 | 2023-08-21
over the weekend | 2023-08-12 | 2023-08-14
this past weekend | 2023-08-12 | 2023-08-14
last month | 2023-07-01 | 2023-08-01
next month | 2023-09-01 | 2023-10-01
last year | 2022-01-01 | 2023-01-01
last quarter | 2023-04-01 | 2023-07-01
earlier this year | 2023-01-01 | 2023-08-14T14:24
later this month | 2023-08-14T14:24 | 2023-09-01
next Friday | 2023-08-18 | 2023-08-19
last Friday | 2023-08-11 | 2023-08-12
last Monday | 2023-08-07 | 2023-08-08
on Monday | 2023-08-14 | 2023-08-15
on Tuesday | 2023-08-08 | 2023-08-09
What did I eat Friday? | 2023-08-11 | 2023-08-12
on Monday last week | 2023-08-07 | 2023-08-08
Friday night | 2023-08-11T18:00 | 2023-08-12T06:00
an hour ago | 2023-08-14T12:54 | 2023-08-14T13:54
two days ago | 2023-08-12 | 2023-08-13
a couple of days ago | 2023-08-11 | 2023-08-13
two weeks ago | 2023-07-28 | 2023-08-04
a week or two ago | 2023-07-28 | 2023-08-11
twenty-five days ago | 2023-07-20 | 2023-07-21
a month ago | 2023-06-29 | 2023-07-30
a few months ago | 2023-02-27 | 2023-06-30
3 years ago | 2020-01-01 | 2021-01-01
a few years back | 2018-01-01 | 2022-01-01
three weeks from now | 2023-09-01 | 2023-09-08
in the past two weeks | 2023-07-31 | 2023-08-14T14:24
over the last 10 days | 2023-08-04 | 2023-08-14T14:24
in the last year | 2022-08-14 | 2023-08-14T14:24
in the next two weeks | 2023-08-14T14:24 | 2023-08-29
since June | 2023-06-01 | max
since last summer | 2022-06-01 | max
since Monday | 2023-08-14 | max
from 2020 onwards | 2020-01-01 | max
before 2020 | min | 2020-01-01
prior to May 2023 | min | 2023-05-01
after March 2023 | 2023-04-01 | max
until April | min | 2023-05-01
as of 1 May 2023 | min | 2023-05-02
between March and May 2023 | 2023-03-01 | 2023-06-01
between November and February 2023 | 2022-11-01 | 2023-03-01
between 2019 and 2021 | 2019-01-01 | 2022-01-01
2019-2021 | 2019-01-01 | 2022-01-01
from 3 to 7 June 2023 | 2023-06-03 | 2023-06-08
3–7 June 2023 | 2023-06-03 | 2023-06-08
May 3 to 7, 2023 | 2023-05-03 | 2023-05-08
May 30 to June 2, 2023 | 2023-05-30 | 2023-06-03
from June 2022 to January 2023 | 2022-06-01 | 2023-02-01
from June 2022 until March | 2022-06-01 | 2023-04-01
June to August 2022 | 2022-06-01 | 2022-09-01
from 2020 to now | 2020-01-01 | 2023-08-14T14:24:01
last summer | 2022-06-01 | 2022-09-01
this summer | 2023-06-01 | 2023-09-01
in the fall | 2022-09-01 | 2022-12-01
in the winter of 2022 | 2022-12-01 | 2023-03-01
spring 2023 | 2023-03-01 | 2023-06-01
Christmas 2022 | 2022-12-25 | 2022-12-26
next Christmas | 2023-12-25 | 2023-12-26
New Year's Eve | 2022-12-31 | 2023-01-01
Valentine’s Day | 2023-02-14 | 2023-02-15
Halloween | 2022-10-31 | 2022-11-01
Thanksgiving 2023 | 2023-11-23 | 2023-11-24
Black Friday 2023 | 2023-11-24 | 2023-11-25
on Mother's Day | 2023-05-14 | 2023-05-15
Memorial Day 2023 | 2023-05-29 | 2023-05-30
Easter 2024 | 2024-03-31 | 2024-04-01
two weeks before Christmas 2022 | 2022-12-08 | 2022-12-15
early May 2023 | 2023-05-01 | 2023-05-11
mid-June | 2023-06-11 | 2023-06-21
late 2022 | 2022-09-01 | 2023-01-01
the beginning of May | 2023-05-01 | 2023-05-11
at the end of last month | 2023-07-21 | 2023-08-01
the first week of May | 2023-05-01 | 2023-05-08
the last week of October 2022 | 2022-10-25 | 2022-11-01
the last two weeks of May 2023 | 2023-05-18 | 2023-06-01
the first weekend of August 2023 | 2023-08-05 | 2023-08-07
the last Friday of June 2023 | 2023-06-30 | 2023-07-01
the second half of 2022 | 2022-07-01 | 2023-01-01
first quarter of 2023 | 2023-01-01 | 2023-04-01
Q1 2023 | 2023-01-01 | 2023-04-01
the week of 5 June 2023 | 2023-06-05 | 2023-06-12
the week of June 7, 2023 | 2023-06-05 | 2023-06-12
the week before 9 June 2023 | 2023-06-02 | 2023-06-09
last week before 23 January, 2023 | 2023-01-16 | 2023-01-23
the weekend before 8 May 2023 | 2023-05-06 | 2023-05-08
the Friday before 15 July 2023 | 2023-07-14 | 2023-07-15
the Saturday after October 28, 2022 | 2022-10-29 | 2022-10-30
around 8 May 2023 | 2023-05-05 | 2023-05-12
the 90s | 1990-01-01 | 2000-01-01
in the early 90s | 1990-01-01 | 1994-01-01
the 2010s | 2010-01-01 | 2020-01-01
on 29 February | 2020-02-29 | 2020-03-01
February 2024 | 2024-02-01 | 2024-03-01
30 February 2023 | 2023-02-01 | 2023-03-01
"""

# now, question, start, end: the turn of the year, leap years, weekends, the ends of the calendar
ELSEWHERE = """
2024-01-01T00:30 | yesterday | 2023-12-31 | 2024-01-01
2024-01-01T00:30 | last month | 2023-12-01 | 2024-01-01
2024-01-01T00:30 | last week | 2023-12-25 | 2024-01-01
2024-01-01T00:30 | in December | 2023-12-01 | 2024-01-01
2024-01-01T00:30 | on New Year's Eve | 2023-12-31 | 2024-01-01
2024-01-15 | this winter | 2023-12-01 | 2024-03-01
2024-01-15 | last winter | 2022-12-01 | 2023-03-01
2024-01-15 | in the winter of 2023 | 2023-12-01 | 2024-03-01
2024-02-29 | a year ago | 2023-01-01 | 2024-01-01
2024-02-29 | today | 2024-02-29 | 2024-03-01
2024-02-29 | on February 29 | 2024-02-29 | 2024-03-01
2024-03-31 | a month ago | 2024-02-14 | 2024-03-16
2024-03-01 | yesterday | 2024-02-29 | 2024-03-01
2023-03-01 | the last day of February | 2023-02-28 | 2023-03-01
2024-03-01 | the last day of February | 2024-02-29 | 2024-03-01
2023-12-31 | next week | 2024-01-01 | 2024-01-08
2023-12-31 | next month | 2024-01-01 | 2024-02-01
2023-12-31 | tomorrow | 2024-01-01 | 2024-01-02
2023-08-12T10:00 | this weekend | 2023-08-12 | 2023-08-14
2023-08-12T10:00 | last weekend | 2023-08-05 | 2023-08-07
2023-05-15 | last May | 2022-05-01 | 2022-06-01
2023-05-15 | in May | 2023-05-01 | 2023-06-01
2023-05-15 | next May | 2024-05-01 | 2024-06-01
0001-01-01 | since yesterday's walk today | 0001-01-01 | 0001-01-02
0001-01-05 | last week or two years from now | 0003-01-01 | 0004-01-01
9999-12-31T12:00 | this year | 9999-01-01 | max
9999-12-31T12:00 | in the next two weeks | 9999-12-31T12:00 | max
"""

NO_TIMES = """
May I ask what she said?
It may be late
She may 5 or 6 times
Who will march with her in the parade?
He fell the second time
The spring in the mattress is broken
Did he fall in the garden?
When did he last fall?
She sat in the sun
What did April say?
What is the name of June's dog?
Did August call?
for two weeks
How many books did she read in two weeks?
every Friday
What do I do each summer?
What did he do on Fridays?
What does she usually do in the summer?
She walked 2000 steps
in 2000 steps
in her 20s
How long did the trip last?
Did it last two weeks?
when she was in Rome
Who is the dog named after?
Who looks after the cats?
Is she named after her grandmother?
What does he do after work?
one after another
What did she do the week before?
What does she do during the day?
since she likes dogs, what would she buy?
Where is the Christmas tree?
What plans do they have for the future?
2023-13-01
05/32/2023
32 May
"""


def cases(table: str) -> list[tuple[str, ...]]:
    return [tuple(cell.strip() for cell in line.split("|")) for line in table.strip().splitlines()]


@pytest.mark.parametrize(("question", "start", "end"), cases(RANGES))
def test_a_question_names_one_range(question, start, end):
    (found,) = find_times(question, MONDAY)
    assert isinstance(found, TimeRange)
    assert (found.start, found.end) == (at(start), at(end))
    assert found.text in question
    assert contains_time(question, MONDAY)


@pytest.mark.parametrize(("now", "question", "start", "end"), cases(ELSEWHERE))
def test_a_range_depends_on_the_clock(now, question, start, end):
    found = find_times(question, at(now))[-1]
    assert (found.start, found.end) == (at(start), at(end))


@pytest.mark.parametrize("question", NO_TIMES.strip().splitlines())
def test_words_that_name_no_time_are_not_read(question):
    assert find_times(question, MONDAY) == []
    assert not contains_time(question, MONDAY)


# question | anchor | direction | first moment | last moment, for an anchor on 10 May 2023, 9:00
ANCHORED = """
What did he pack two weeks before the trip? | the trip | before | 2023-04-23 | 2023-04-30
the day after her birthday party | her birthday party | after | 2023-05-11 | 2023-05-12
the week after the race, what did he do? | the race | after | 2023-05-11 | 2023-05-18
the weekend before the race | the race | before | 2023-05-03 | 2023-05-10
a few days after the race | the race | after | 2023-05-12 | 2023-05-16
two months before the race | the race | before | 2023-02-23 | 2023-03-26
an hour before the race | the race | before | 2023-05-10T07:30 | 2023-05-10T08:30
shortly after the race | the race | after | 2023-05-10 | 2023-05-14
the night of the party | the party | around | 2023-05-10 | 2023-05-11
What did Anna do after moving to Boston? | moving to Boston | after | 2023-05-10T09:00 | max
before I started the new job | I started the new job | before | min | 2023-05-10T09:00
prior to the race | the race | before | min | 2023-05-10T09:00
since the accident | the accident | after | 2023-05-10T09:00 | max
until the wedding | the wedding | before | min | 2023-05-10T09:00
after the 2022 Olympics | the 2022 Olympics | after | 2023-05-10T09:00 | max
before last year's trip | last year's trip | before | min | 2023-05-10T09:00
after April told me | April told me | after | 2023-05-10T09:00 | max
After the trip what did she eat? | the trip | after | 2023-05-10T09:00 | max
during the conference | the conference | around | 2023-05-07 | 2023-05-14
around the time of the move | the move | around | 2023-05-07 | 2023-05-14
"""


@pytest.mark.parametrize(("question", "anchor", "direction", "start", "end"), cases(ANCHORED))
def test_a_time_may_hang_on_an_event(question, anchor, direction, start, end):
    (found,) = find_times(question, MONDAY)
    assert isinstance(found, Anchored)
    assert (found.anchor, found.direction) == (anchor, direction)
    resolved = found.resolve(datetime(2023, 5, 10, 9, tzinfo=UTC))
    assert (resolved.start, resolved.end) == (at(start), at(end))
    assert resolved.text == found.text


def test_an_anchor_tells_its_offset_and_slack():
    (found,) = find_times("two weeks before the trip to Rome", MONDAY)
    assert (found.offset, found.slack) == (timedelta(days=-14), timedelta(days=3.5))
    (found,) = find_times("after the trip to Rome", MONDAY)
    assert (found.offset, found.slack) == (timedelta(0), timedelta(0))


def test_a_date_beside_an_event_is_read_on_its_own():
    event, date = find_times("What changed after her retreat on 9 February, 2023?", MONDAY)
    assert (event.anchor, date.start) == ("her retreat", at("2023-02-09"))


def test_times_come_in_the_order_of_the_text():
    found = find_times("Did we meet in May 2022, two weeks before the trip, or last Friday?", MONDAY)
    assert [reading.text for reading in found] == ["in May 2022", "two weeks before the trip", "last Friday"]


def test_the_longest_of_overlapping_readings_wins():
    (found,) = find_times("the first week of May 2022", MONDAY)
    assert found.text == "the first week of May 2022"


def test_days_are_days_of_the_clocks_time_zone():
    tokyo = timezone(timedelta(hours=9))
    (found,) = find_times("today", datetime(2023, 8, 14, 1, tzinfo=tokyo))
    assert (found.start, found.end) == (at("2023-08-13T15:00"), at("2023-08-14T15:00"))


def test_a_clock_without_a_time_zone_is_refused():
    with pytest.raises(InvalidInputError, match="time zone"):
        find_times("last May", datetime(2023, 8, 14))
    (found,) = find_times("after the trip", MONDAY)
    with pytest.raises(InvalidInputError, match="time zone"):
        found.resolve(datetime(2023, 8, 14))


@pytest.mark.parametrize(("year", "month", "day"), [(1999, 4, 4), (2008, 3, 23), (2011, 4, 24), (2023, 4, 9)])
def test_easter_falls_on_its_known_days(year, month, day):
    assert holiday_span("easter", year)[0] == datetime(year, month, day).toordinal() * 86_400
