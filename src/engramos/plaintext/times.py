"""Times that a question names, as ranges: `last May`, `between March and May 2023`, `two weeks before the trip`.

Days are days of the clock's time zone; ranges are given in UTC. What each expression covers:

- a month, season, holiday or date without a year: the latest that began by now; `last`: the latest that has ended;
  `next`: the first that has not begun, so `next Friday` is the first Friday after today;
- `two weeks ago`: the week centred on that day, months alike, because people round to whole units; `3 years ago` is a
  calendar year, because people subtract the numbers of years; `a few` is 2 to 5, `several` 3 to 7;
- `since X` begins with X, `until X` and `by X` end with it (English leaves that open, and a range too wide loses
  nothing), and so does `as of X`; `before X` ends where X begins, `after X` begins where X ends;
- `05/08/2023` is 8 May: month first, as where English is most written; day first where only that fits.

Weeks, weekends and seasons: see `time_phrases`.

Source: ours.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from engramos.plaintext import time_words as tw
from engramos.plaintext.time_anchors import LEADS, read_anchored
from engramos.plaintext.time_grammar import Grammar, Period
from engramos.plaintext.time_phrases import READERS
from engramos.plaintext.time_ranges import EARLIEST, LATEST, Anchored, TimeRange, aware
from engramos.plaintext.time_words import DAY, Span

__all__ = ["Anchored", "TimeRange", "contains_time", "find_times"]

_OPEN = frozenset({"since", "before", "after", "until", "till", "by"})
_WITHIN = frozenset({"in", "during", "throughout", "within", "around"})
_PREPOSITIONS = _OPEN | _WITHIN | {"on", "at", "over", "for", "from", "through", "between", "prior", "as"}
_YEAR_SUPPORT = _OPEN | _WITHIN | {"from", "through", "the"}
_JOINTS = {"between": {"and", "&"}, "from": {"to", "until", "till", "through", "-"}, "": {"to", "through", "-"}}
_HABITS = frozenset({"every", "each", "per", "any"})
_HABITUAL = frozenset({"usually", "often", "always", "typically", "normally", "generally"})
_GOING_ON = "and or but to what who where which when how of did does do was were is has have"
_GOES_ON = frozenset(_GOING_ON.split()) | tw.ENDS
"""What may follow a month that is also a name, where it is a month: a name is followed by its verb."""


def find_times(question: str, now: datetime) -> list[TimeRange | Anchored]:
    """Return the times that an English question names, in the order of the text; of overlapping ones, the longest.

    Durations ("for two weeks") and habits ("every Friday") are no times.

    Args:
        question: any text.
        now: the conversation's clock, aware.

    Returns:
        Ranges, and what hangs on the time of something else; empty if the question names no time.

    Raises:
        InvalidInputError: if `now` is naive.
    """
    aware(now, "now")
    grammar = Grammar(question, now.replace(tzinfo=None), READERS)
    habitual = not _HABITUAL.isdisjoint(grammar.words)
    starts = [i for i, word in enumerate(grammar.words) if word in _STARTS or word[:1].isdigit()]
    starts = [i for i in starts if grammar.words[i - 1] not in _HABITS]
    ranges = {i: read for i in starts if (read := _time_range(grammar, i, now.tzinfo, habitual))}
    found: list[tuple[int, int, TimeRange | Anchored]] = []
    for i in starts:
        read = ranges.get(i) or read_anchored(grammar, i, ranges)
        if read is not None:
            found.append((i, *read))
    return [reading for _, _, reading in _longest(found, len(grammar.words))]


def contains_time(question: str, now: datetime) -> bool:
    """Return whether a question names a time; see `find_times`.

    Raises:
        InvalidInputError: if `now` is naive.
    """
    return bool(find_times(question, now))


def _longest(
    found: list[tuple[int, int, TimeRange | Anchored]], num_words: int
) -> list[tuple[int, int, TimeRange | Anchored]]:
    """Return the readings that no longer one overlaps, in the order of the text."""
    taken, kept = bytearray(num_words + 1), []
    for reading in sorted(found, key=lambda reading: (reading[0] - reading[1], reading[0])):
        start, end = reading[:2]
        if not (taken[start] or taken[end - 1]):
            taken[start:end] = b"\1" * (end - start)
            kept.append(reading)
    return sorted(kept, key=lambda reading: reading[0])


def _utc(seconds: int, zone: tzinfo | None) -> datetime:
    """Return the time in UTC of a place in the local calendar, clipped to the years 1 to 9999."""
    if seconds <= tw.LOW:
        return EARLIEST
    if seconds >= tw.HIGH:
        return LATEST
    local = datetime.min + timedelta(seconds=seconds - tw.LOW)
    return aware(local.replace(tzinfo=zone), "time")


def _time_range(grammar: Grammar, i: int, zone: tzinfo | None, habitual: bool) -> tuple[int, TimeRange] | None:
    read = _preposed(grammar, i, habitual) if grammar.words[i] in _PREPOSITIONS else _alone(grammar, i, habitual)
    if read is None:
        return None
    end, span = read
    start_at, end_at = _utc(span[0], zone), _utc(span[1], zone)
    return (end, TimeRange(start_at, end_at, grammar.text(i, end))) if start_at < end_at else None


def _alone(grammar: Grammar, i: int, habitual: bool) -> tuple[int, Span] | None:
    """Read a range (`June to August 2023`), or a period that no preposition introduces."""
    joined = _joined(grammar, i, "")
    if joined:
        return joined
    period = grammar.period(i)
    if period is None or not _is_supported(grammar, "", period) or (habitual and period.by is not None):
        return None
    span = grammar.settle(period)
    return (period.end, span) if span else None


def _preposed(grammar: Grammar, i: int, habitual: bool) -> tuple[int, Span] | None:
    """Read a preposition and its period or range."""
    word, j = grammar.words[i], i + 1
    if word == "prior":
        word, j = "before", j + (grammar.words[j] == "to")
    if word == "as":
        if grammar.words[j] != "of":
            return None
        word, j = "until", j + 1
    if word in {"between", "from"}:
        joined = _joined(grammar, j, word)
        if joined:
            return joined
    period = grammar.period(j)
    if period is None or not _is_supported(grammar, word, period) or (habitual and period.by is not None):
        return None
    span = grammar.settle(period)
    if span is None or (word in _OPEN and _names_event(grammar, j, period)):
        return None
    if word == "from" and grammar.words[period.end] in {"on", "onward", "onwards"}:
        return period.end + 1, (span[0], tw.HIGH)
    return period.end, _opened(word, span)


def _opened(word: str, span: Span) -> Span:
    """Return what a preposition makes of a span."""
    if word == "since":
        return span[0], tw.HIGH
    if word == "after":
        return span[1], tw.HIGH
    if word == "before":
        return tw.LOW, span[0]
    if word in {"until", "till", "by"}:
        return tw.LOW, span[1]
    if word == "around":
        margin = max((span[1] - span[0]) // 2 // DAY * DAY, 3 * DAY)
        return span[0] - margin, span[1] + margin
    return span


def _names_event(grammar: Grammar, i: int, period: Period) -> bool:
    """Return whether the period only describes an event: `the 2022 Olympics`, `last year's trip`."""
    is_possessive = grammar.matches[period.end - 1][0].lower().endswith(("'s", "’s"))
    is_titled = grammar.words[i] == "the" and grammar.year_at(i + 1) is not None and period.end == i + 2
    return (is_possessive or is_titled) and grammar.words[period.end] not in tw.ENDS


def _is_supported(grammar: Grammar, word: str, period: Period) -> bool:
    """Return whether a period that may mean something else is a time after this preposition ("": none)."""
    if not period.bare:
        return True
    name, after = grammar.words[period.end - 1], grammar.words[period.end]
    if period.by is None:
        return word in _YEAR_SUPPORT
    if name in tw.ALL_WEEKDAYS or name == "weekend":
        return bool(word) or (name in tw.WEEKDAYS and after in tw.ENDS)
    if word in _WITHIN or (word == "over" and name in tw.SEASONS):
        return True
    is_name = name in tw.NAMES or name in tw.SEASONS or name in tw.MONTH_SHORTS
    return word in _OPEN and (not is_name or (word != "by" and after in _GOES_ON))


def _joined(grammar: Grammar, i: int, word: str) -> tuple[int, Span] | None:
    """Read `March and May 2023` behind `between`, `3 to 7 June 2023` behind `from`, or a range without either."""
    left, j = grammar.period(i), i + 1
    if left is not None and grammar.words[left.end] in _JOINTS[word]:
        j = left.end
    elif grammar.words[j] in _JOINTS[word] and grammar.words[i][:1].isdigit():
        left = None
    else:
        return None
    right = grammar.period(j + 1)
    if word and grammar.words[j + 1] in {"now", "present"}:
        right = Period(j + 2, (grammar.now, grammar.now + 1))
    last = grammar.settle(right) if right else None
    if right is None or last is None:
        return None
    if left is None:
        first = _same_month(grammar, i, last)
    elif left.by is None and right.by is not None:
        first = left.span
        indexes = range(right.index - 10, right.index + 2)
        last = next((span for k in indexes if first and (span := right.by(k)) and span[0] >= first[0]), last)
    else:
        if not word and left.bare and right.bare and left.by is not None:
            return None
        first = grammar.settle(left, last[0])
    return (right.end, (first[0], last[1])) if first and first[0] < last[1] else None


def _same_month(grammar: Grammar, i: int, last: Span) -> Span | None:
    """Return the day that word `i` numbers, in the month of the single day `last`."""
    number = grammar.words[i].rstrip("stndrh")
    if last[1] - last[0] != DAY or len(number) > 2 or not number.isascii() or not number.isdigit():
        return None
    at = _utc(last[0], UTC)
    day = tw.dates_span(at.year, at.month, int(number), int(number))
    return day if day and day[0] <= last[0] else None


_STARTS = frozenset({*READERS, *_PREPOSITIONS, *LEADS})
