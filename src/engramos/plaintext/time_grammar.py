"""Periods: what single time expressions of English say, read by recursive descent over the words of a question.

Each reader looks at a bounded number of words and nests at most four deep, so that a text takes linear time.

Source: ours.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from engramos.plaintext import time_words as tw
from engramos.plaintext.time_words import DAY, Span

_MAX_DEPTH = 4
_DATE = re.compile(r"([0-9]{1,4})([-/.])([0-9]{1,2})(?:\2([0-9]{1,4}))?")
_DECADE = re.compile(r"([0-9]{2})?([0-9]0)s")
_YEARS = re.compile(r"((?:19|20)[0-9]{2})-((?:19|20)[0-9]{2})")
_NOT_PLURAL = frozenset({"does", "this", "besides", "across", "always", "perhaps", "onwards", "afterwards"})
_COUNTED_THINGS = frozenset({"people", "percent", "feet"})


AMOUNTS = frozenset({*tw.NUMBERS, *tw.TENS, *tw.VAGUE, "a", "an"})
_FOLLOWERS = frozenset({*tw.ALL_MONTHS, *tw.UNITS, *tw.ENDS, "of", "or", "to", "-"})
"""What may follow a short number that begins the expression of a time."""


@dataclass(frozen=True, slots=True)
class Period:
    """What one expression says, and the place of the first word behind it."""

    end: int
    span: Span | None = None
    """The span, where it is settled."""
    by: Callable[[int], Span | None] | None = None
    """The span in the year (or week, or month) of a number, where the expression names none."""
    index: int = 0
    """The number of the year (or week, or month) that is now."""
    bare: bool = False
    """Whether the words alone may mean something else, so that a preposition must support them."""


def map_period(period: Period, end: int, change: Callable[[Span], Span | None]) -> Period | None:
    """Return a period whose every span is changed alike; None if that leaves a settled one without a span."""
    by = period.by
    if by is not None:
        return replace(period, end=end, by=lambda k: change(span) if (span := by(k)) else None)
    span = change(period.span) if period.span else None
    return replace(period, end=end, span=span) if span else None


class Grammar:
    """The words of one question, and the time at which it was asked."""

    def __init__(self, text: str, wall: datetime, readers: "Readers") -> None:
        self._readers = readers
        self.words, self.matches = tw.split(text)
        self.now = wall.toordinal() * DAY + wall.hour * 3600 + wall.minute * 60 + wall.second
        self.today = wall.toordinal()
        self.year, self.week = wall.year, (self.today - 1) // 7
        self._depth = 0
        self._known: dict[int, Period | None] = {}

    def text(self, start: int, end: int) -> str:
        """Return the text from word `start` up to word `end`, exclusive."""
        return self.matches[0].string[self.matches[start].start() : self.matches[end - 1].end()]

    def capital(self, i: int) -> bool:
        """Return whether word `i` is written with a capital."""
        return i < len(self.matches) and self.matches[i][0][:1].isupper()

    def period(self, i: int) -> Period | None:
        """Return the period that begins at word `i`, or None; each is read once, except inside others."""
        if self._depth:
            return self._read(i)
        if i not in self._known:
            self._known[i] = self._read(i)
        return self._known[i]

    def _read(self, i: int) -> Period | None:
        word = self.words[i]
        read = self._readers.get(word) or (Grammar.digits if word[:1].isdigit() else None)
        if read is None or self._depth == _MAX_DEPTH:
            return None
        self._depth += 1
        found = read(self, i)
        self._depth -= 1
        if found is None or self.words[found.end] not in tw.PARTS or not self.is_day(found):
            return found
        hours = tw.PARTS[self.words[found.end]]
        return map_period(
            replace(found, bare=False),
            found.end + 1,
            lambda span: (span[0] + hours[0] * 3600, span[0] + hours[1] * 3600),
        )

    def is_day(self, period: Period) -> bool:
        """Return whether a period is one whole day."""
        span = self.settle(period)
        return span is not None and span[1] - span[0] == DAY

    def settle(self, period: Period, bound: int | None = None) -> Span | None:
        """Return the span of a period: of several, the latest that began by `bound` (seconds; default: now)."""
        bound = self.now if bound is None else bound
        if period.by is None:
            return period.span
        spans = (period.by(index) for index in range(period.index + 1, period.index - 10, -1))
        return next((span for span in spans if span and span[0] <= bound), None)

    def related(self, period: Period, word: str) -> Span | None:
        """Return the one of several spans that `last`, `this` or `next` means."""
        by, index = period.by, period.index
        if by is None:
            return period.span
        if word in tw.THIS:
            spans = [by(index), by(index - 1)]
            return next((span for span in spans if span and span[0] <= self.now < span[1]), spans[0])
        if word in tw.NEXT:
            return next((span for k in range(index - 1, index + 10) if (span := by(k)) and span[0] > self.now), None)
        return next((span for k in range(index + 1, index - 10, -1) if (span := by(k)) and span[1] <= self.now), None)

    def year_at(self, i: int) -> int | None:
        """Return the year that word `i` writes in four digits, or None."""
        word = self.words[i]
        return int(word) if len(word) == 4 and word.isascii() and word.isdigit() and "1000" <= word < "3000" else None

    def with_year(self, end: int, by: Callable[[int], Span | None], *, bare: bool = False) -> Period | None:
        """Return a period that recurs each year, in the year that follows it if one does."""
        j = end + 1 if self.words[end] in {",", "of", "in"} else end
        j += self.words[j] == "the" and self.words[j + 1] == "year"
        j += self.words[j] == "year"
        year, after = self.year_at(j), j + 1
        if year is None and self.words[j] in {"last", "this", "next"} and self.words[j + 1] == "year":
            year, after = self.year + {"last": -1, "this": 0, "next": 1}[self.words[j]], j + 2
        if year is None:
            return Period(end, by=by, index=self.year, bare=bare)
        span = by(year)
        return Period(after, span) if span else None

    def _days_at(self, i: int) -> tuple[int, int] | None:
        """Return the days of a month that word `i` numbers: `8`, `8th`, `3-7`."""
        match = re.fullmatch(r"([0-9]{1,2})(?:-([0-9]{1,2}))?(?:st|nd|rd|th)?", self.words[i])
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        return (first, last) if 1 <= first <= last <= 31 else None

    def month(self, i: int) -> Period | None:
        """Read `May`, `May 2023`, `May 8th, 2023`, `May 3-7`."""
        word = self.words[i]
        month, is_short = tw.ALL_MONTHS[word], word in tw.MONTH_SHORTS
        j = i + 1 + (is_short and self.words[i + 1] == "." and self._days_at(i + 2) is not None)
        has_article = self.words[j] == "the"
        dates = self._days_at(j + has_article)
        if dates is None and has_article and self.words[j + 1] in tw.NTHS:
            dates = (tw.NTHS[self.words[j + 1]],) * 2
        if dates is None:
            if is_short and not self.capital(i) and self.year_at(j) is None:
                return None
            return self.with_year(i + 1, lambda year: tw.month_span(year, month), bare=is_short or word in tw.NAMES)
        j += 1 + has_article
        if self.words[j] in {"to", "through", "-"} and self.words[j + 1] not in tw.ALL_MONTHS:
            until = self._days_at(j + 1)
            if until and self.words[j + 2] not in tw.ALL_MONTHS and until[0] > dates[0]:
                dates, j = (dates[0], until[1]), j + 2
        found = self.with_year(j, lambda year: tw.dates_span(year, month, *dates))
        return None if found and found.by and self._is_verb(i, j) else found

    def _is_verb(self, i: int, end: int) -> bool:
        """Return whether `may` or `march` at word `i` is a verb, by its small letter and what follows at `end`."""
        return self.words[i] in tw.VERBS and not self.capital(i) and self.words[end] not in tw.ENDS

    def digits(self, i: int) -> Period | None:
        """Read what begins with a number in digits."""
        if len(self.words[i]) > 10 or (len(self.words[i]) < 3 and self.words[i + 1] not in _FOLLOWERS):
            return None
        return (
            self._written_date(i) or self._day_of_month(i) or self.nth(i) or self.counted(i) or self._year_or_decade(i)
        )

    def _written_date(self, i: int) -> Period | None:
        """Read `2023-05-08`, `2023-05`, `05/08/2023` (month first, unless only day first fits), `08.05.2023`."""
        match = _DATE.fullmatch(self.words[i])
        if match is None:
            return None
        left, mark, middle, right = match.groups()
        if len(left) == 4:
            if right is None:
                is_month = mark != "." and len(middle) == 2 and 1 <= int(middle) <= 12 and self._is_year(left)
                return Period(i + 1, tw.month_span(int(left), int(middle))) if is_month else None
            span = tw.dates_span(int(left), int(middle), int(right), int(right)) if len(right) <= 2 else None
            return Period(i + 1, span) if span else None
        if right is None or len(right) not in {2, 4} or len(left) > 2:
            return None
        year = int(right)
        if len(right) == 2:
            year = min((year + 100 * century for century in range(100)), key=lambda full: abs(full - self.year))
        first, second = int(left), int(middle)
        months_days = [(second, first), (first, second)] if mark == "." else [(first, second), (second, first)]
        spans = [tw.dates_span(year, month, day, day) for month, day in months_days]
        span = next((span for span in spans if span), None)
        return Period(i + 1, span) if span else None

    def _is_year(self, word: str) -> bool:
        return "1800" <= word < "2200"

    def _day_of_month(self, i: int) -> Period | None:
        """Read `8 May`, `8th of May 2023`, `3-7 June`, and `on the 8th` where nothing else follows."""
        dates = self._days_at(i)
        if dates is None:
            return None
        has_of = self.words[i + 1] == "of"
        j = i + 1 + has_of
        month = tw.ALL_MONTHS.get(self.words[j])
        if month is not None:
            end = j + 1 + (self.words[j] in tw.MONTH_SHORTS and self.words[j + 1] == "." and bool(self.year_at(j + 2)))
            found = self.with_year(end, lambda year: tw.dates_span(year, month, *dates))
            return None if found and found.by and not has_of and self._is_verb(j, end) else found
        is_alone = not self.words[i][-1].isdigit() and self.words[i + 1] in tw.ENDS
        if is_alone and self.words[i - 1] == "the" and self.words[i - 2] == "on":
            return Period(
                i + 1,
                by=lambda k: tw.dates_span(k // 12, k % 12 + 1, *dates),
                index=self.year * 12 + date.fromordinal(self.today).month - 1,
            )
        return None

    def _year_or_decade(self, i: int) -> Period | None:
        word, before = self.words[i], self.words[i - 1]
        match = _DECADE.fullmatch(word)
        if match:
            is_third = before in tw.THIRDS or (before == "-" and self.words[i - 2] == "mid")
            if match[1] is None and before != "the" and not (is_third and "the" in self.words[max(i - 3, 0) : i]):
                return None
            year = int(match[1] + match[2]) if match[1] else 1900 + int(match[2])
            year += 100 * (match[1] is None and match[2] < "20" and self.year >= 2000)
            return Period(i + 1, tw.month_span(year, 1, 120)) if year >= 1000 else None
        match = _YEARS.fullmatch(word)
        if match and match[1] < match[2]:
            return Period(i + 1, (tw.month_span(int(match[1]), 1)[0], tw.month_span(int(match[2]), 12)[1]))
        year, after = self.year_at(i), self.words[i + 1]
        is_plural = after.endswith("s") and len(after) > 3 and after not in _NOT_PLURAL and not self.capital(i + 1)
        if year is None or after in tw.UNITS or after in _COUNTED_THINGS or is_plural:
            return None
        return Period(i + 1, tw.month_span(year, 1, 12), bare=True)

    def amount(self, i: int) -> tuple[int, int, int] | None:
        """Return the least and the most that a number at word `i` may mean, and the place behind it."""
        word, j = self.words[i], i + 1
        if word in {"a", "an"}:
            if self.words[j] not in {"couple", "few"}:
                return 1, 1, j
            word, j = self.words[j], j + 1
        if word in tw.VAGUE:
            return *tw.VAGUE[word], j + (word == "couple" and self.words[j] == "of")
        match = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", word)
        if match and int(match[1]) < int(match[2]):
            return int(match[1]), int(match[2]), j
        low = self._count(i)
        if low is None:
            return None
        j += word in tw.TENS and (self.words[j] == "-") + (low % 10 > 0)
        high = self._count(j + 1) if self.words[j] in {"or", "to"} else None
        return (low, high, j + 2) if high is not None and high > low else (low, low, j)

    def _count(self, i: int) -> int | None:
        word = self.words[i]
        if word in tw.TENS:
            after = self.words[i + 1 + (self.words[i + 1] == "-")]
            return tw.TENS[word] + (tw.NUMBERS.get(after, 0) if tw.NUMBERS.get(after, 10) < 10 else 0)
        digits = word.replace(",", "")
        if digits.isascii() and digits.isdigit() and len(digits) <= 6:
            return int(digits)
        return tw.NUMBERS.get(word)

    def measure(self, i: int) -> tuple[int, int, str, int] | None:
        """Return least, most, unit and the place behind `two weeks`, `a couple of days`, `a week or two`."""
        found = self.amount(i) if self.words[i] in AMOUNTS or self.words[i][:1].isdigit() else None
        if found is None or self.words[found[2]] not in tw.UNITS:
            return None
        low, high, j = found
        most = self._count(j + 2) if self.words[j + 1] == "or" else None
        if most is not None and most > high:
            return low, most, self.words[j], j + 3
        return low, high, self.words[j], j + 1

    def counted(self, i: int) -> Period | None:
        """Read `two weeks ago`, `two weeks from now`, `two weeks before Christmas`."""
        found = self.measure(i)
        if found is None:
            return None
        low, high, unit, j = found
        word = self.words[j]
        if word in {"ago", "back"}:
            return Period(j + 1, self.moved(self.now, unit, low, high, -1))
        if word == "from" and self.words[j + 1] == "now":
            return Period(j + 2, self.moved(self.now, unit, low, high, 1))
        if word not in {"before", "after", "from"}:
            return None
        period = self.period(j + 1)
        span = self.settle(period) if period and not period.bare else None
        if period is None or span is None:
            return None
        is_before = word == "before"
        at = span[0] if is_before else span[1] - DAY
        return Period(period.end, self.moved(at, unit, low, high, -1 if is_before else 1))

    def moved(self, at: int, unit: str, low: int, high: int, sign: int) -> Span:
        """Return what lies `low` to `high` units from `at`, with half a unit to either side: what rounding leaves open.

        Days are whole; years are calendar years, because people subtract the numbers of years.
        """
        if unit in tw.SECONDS_OF_UNITS:
            size = tw.SECONDS_OF_UNITS[unit]
            near, far = (2 * low - 1) * size // 2, -(-(2 * high + 1) * size // 2)
            return (at - far, at - near) if sign < 0 else (at + near, at + far)
        day = at // DAY
        if unit in tw.DAYS_OF_UNITS:
            size = tw.DAYS_OF_UNITS[unit]
            ends = sorted((day + sign * (low * size - size // 2), day + sign * (high * size + size // 2)))
            return tw.days(ends[0], ends[1] + 1)
        if unit in tw.MONTHS_OF_UNITS:
            size = tw.MONTHS_OF_UNITS[unit]
            ends = sorted((tw.shift_months(day, sign * low * size), tw.shift_months(day, sign * high * size)))
            return tw.days(ends[0] - 15 * size, ends[1] + 15 * size + 1)
        size = tw.YEARS_OF_UNITS[unit]
        year = date.fromordinal(min(max(day, 1), date.max.toordinal())).year
        first, last = sorted((year + sign * low * size, year + sign * high * size))
        return tw.month_span(first - size // 2, 1)[0], tw.month_span(last + size // 2, 12)[1]

    def nth(self, i: int) -> Period | None:
        """Read `the fourth of July`, `the first week of May`, `the last Monday in May`."""
        digits = re.fullmatch(r"([0-9]{1,2})(?:st|nd|rd|th)", self.words[i])
        nth = int(digits[1]) if digits else tw.NTHS.get(self.words[i], -1)
        j = i + 1
        if nth > 0 and self.words[j] == "of" and self.words[j + 1] in tw.ALL_MONTHS:
            month = tw.ALL_MONTHS[self.words[j + 1]]
            return self.with_year(j + 2, lambda year: tw.dates_span(year, month, nth, nth))
        count, unit, j = 1, self.words[j], j + 1
        measured = self.measure(i + 1) if nth in {1, -1} else None
        if measured:
            count, unit, j = measured[1:]
        if self.words[j] not in {"of", "in"} or not (unit in tw.UNITS or unit in tw.WEEKDAYS or unit == "half"):
            return None
        whole = self.whole(j + 1)
        return whole and map_period(replace(whole, bare=False), whole.end, lambda span: nth_of(span, unit, nth, count))

    def whole(self, i: int) -> Period | None:
        """Return the period at word `i`; `the week`, `the month` and `the year` are the ones that are now."""
        unit = self.words[i + 1]
        if self.words[i] == "the" and (span := self.unit_span(unit, 0)):
            return Period(i + 2, span)
        return self.period(i)

    def unit_span(self, unit: str, shift: int) -> Span | None:
        """Return the calendar week, month, quarter, year or decade that is now, or so many later."""
        if unit == "week":
            first = (self.week + shift) * 7 + 1
            return tw.days(first, first + 7)
        month = date.fromordinal(self.today).month
        if unit in {"month", "quarter"}:
            size = tw.MONTHS_OF_UNITS[unit]
            return tw.month_span(self.year, (month - 1) // size * size + 1 + shift * size, size)
        if unit in {"year", "decade"}:
            size = tw.YEARS_OF_UNITS[unit]
            return tw.month_span((self.year // size + shift) * size, 1, 12 * size)
        return None


def nth_of(span: Span, unit: str, nth: int, count: int = 1) -> Span | None:
    """Return the `nth` unit (-1: the last) of a span, or its first or last `count` units; weeks begin with the span."""
    first, end = span[0] // DAY, span[1] // DAY
    if unit in tw.WEEKDAYS:
        return tw.nth_weekday(span, tw.WEEKDAYS[unit], nth)
    if unit in {"weekend", "weekends"}:
        saturday = tw.nth_weekday(span, 5, nth)
        return saturday and (saturday[0], saturday[1] + DAY)
    if unit == "half":
        half = tw.shift_months(first, 6) if end - first in {365, 366} else (first + end) // 2
        return tw.days(first, half) if nth == 1 else tw.days(half, end) if nth in {2, -1} else None
    if unit in tw.SECONDS_OF_UNITS:
        return None
    before = (nth - 1) * count
    if unit in tw.DAYS_OF_UNITS:
        size = tw.DAYS_OF_UNITS[unit]
        low, high = (end - count * size, end) if nth < 0 else (first + before * size, first + (before + count) * size)
    else:
        size = tw.MONTHS_OF_UNITS.get(unit) or 12 * tw.YEARS_OF_UNITS[unit]
        low = tw.shift_months(end, -count * size) if nth < 0 else tw.shift_months(first, before * size)
        high = end if nth < 0 else tw.shift_months(first, (before + count) * size)
    return tw.days(low, high) if first <= low < high <= end else None


Readers = Mapping[str, Callable[[Grammar, int], Period | None]]
"""The reader of the expressions that begin with a word."""
