"""The words of English time expressions, and the calendar behind them.

A span is a pair of whole seconds of the local calendar, counted from midnight of day 0 (the day before 1 January of
year 1), end exclusive. Integers never overflow, so a span may lie outside the years 1 to 9999 until it is clipped.

Source: ours; the date of Easter is the Gregorian computus of Meeus, Jones and Butcher.
"""

import re
from calendar import monthrange
from datetime import date

Span = tuple[int, int]

DAY = 86_400
LOW = DAY
"""Midnight of 1 January of year 1."""
HIGH = (date.max.toordinal() + 1) * DAY
"""Midnight after 31 December of year 9999."""

_MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = {name: month for month, name in enumerate(_MONTH_NAMES.split(), 1)}
MONTH_SHORTS = {name[:3]: month for name, month in MONTHS.items() if len(name) > 3} | {"sept": 9}
ALL_MONTHS = MONTHS | MONTH_SHORTS
_WEEKDAY_NAMES = "monday tuesday wednesday thursday friday saturday sunday"
WEEKDAYS = {name: day for day, name in enumerate(_WEEKDAY_NAMES.split())}
WEEKDAY_SHORTS = {name[:3]: day for name, day in WEEKDAYS.items()} | {"tues": 1, "thur": 3, "thurs": 3}
ALL_WEEKDAYS = WEEKDAYS | WEEKDAY_SHORTS
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
"""The first month of each: northern meteorological seasons of three whole months."""

NAMES = frozenset({"april", "june", "may", "august", "march", "summer", "autumn"})
"""Months and seasons that are also names of people, or verbs."""
VERBS = frozenset({"may", "march"})
FALLS = frozenset({"march", "fall", "spring"})
"""Words that follow `last` as verbs in "when did he last fall"."""

DAY_WORDS = {"yesterday": -1, "today": 0, "tomorrow": 1}
PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}
"""Hours of the day, first and last; a night ends at six o'clock of the next day."""

_DAYS_OF_UNITS = {"day": 1, "night": 1, "week": 7, "weekend": 7, "fortnight": 14}
DAYS_OF_UNITS = _DAYS_OF_UNITS | {f"{name}s": days for name, days in _DAYS_OF_UNITS.items()}
MONTHS_OF_UNITS = {"month": 1, "months": 1, "quarter": 3, "quarters": 3}
YEARS_OF_UNITS = {"year": 1, "years": 1, "decade": 10, "decades": 10}
SECONDS_OF_UNITS = {"second": 1, "seconds": 1, "minute": 60, "minutes": 60, "hour": 3600, "hours": 3600}
UNITS = frozenset(DAYS_OF_UNITS | MONTHS_OF_UNITS | YEARS_OF_UNITS | SECONDS_OF_UNITS)

_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
NUMBERS = {name: number for number, name in enumerate(f"{_ONES} seventeen eighteen nineteen".split(), 1)}
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
VAGUE = {"couple": (2, 3), "few": (2, 5), "several": (3, 7)}
"""How many a vague number may mean, least and most."""
_NTHS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
NTHS = {name: number for number, name in enumerate(f"{_NTHS} fifteenth sixteenth seventeenth".split(), 1)}

LAST, THIS, NEXT = frozenset({"last", "past"}), frozenset({"this"}), frozenset({"next", "coming", "upcoming"})
RELATIVE = LAST | THIS | NEXT
THIRDS = {"early": 0, "beginning": 0, "start": 0, "mid": 1, "middle": 1, "late": 2, "end": 2}

_FIXED = {"christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "xmas": (12, 25)}
_FIXED |= {"new year eve": (12, 31), "new years eve": (12, 31), "new year day": (1, 1), "new years day": (1, 1)}
_FIXED |= {"valentines day": (2, 14), "valentine day": (2, 14), "halloween": (10, 31), "boxing day": (12, 26)}
_FIXED |= {"st patricks day": (3, 17), "st . patricks day": (3, 17), "independence day": (7, 4), "juneteenth": (6, 19)}
_FIXED |= {"veterans day": (11, 11), "april fools day": (4, 1), "earth day": (4, 22)}
_NTH_WEEKDAYS = {"thanksgiving": (11, 3, 4), "labor day": (9, 0, 1), "memorial day": (5, 0, -1)}
_NTH_WEEKDAYS |= {"mothers day": (5, 6, 2), "fathers day": (6, 6, 3), "mlk day": (1, 0, 3)}
_EASTER = {"easter": 0, "easter sunday": 0, "good friday": -2, "easter monday": 1}
HOLIDAYS = frozenset({*_FIXED, *_NTH_WEEKDAYS, *_EASTER, "black friday"})
HOLIDAYS_BY_WORD: dict[str, list[tuple[str, ...]]] = {}
for _name in sorted(HOLIDAYS, key=lambda name: (-len(name.split()), name)):
    HOLIDAYS_BY_WORD.setdefault(_name.split()[0], []).append(tuple(_name.split()))
_THINGS = (
    "tree trees costume costumes card cards carol carols song songs movie movies decoration decorations cookie cookies "
    "ornament ornaments egg eggs bunny themed market markets stocking stockings"
)
HOLIDAY_THINGS = frozenset(_THINGS.split())
"""Nouns before which the name of a holiday says what a thing is like, and not when something happened."""

_STEMS = frozenset({*MONTHS, *WEEKDAYS, *DAY_WORDS, *UNITS, "tonight", "christmas", "halloween", "easter"}) - NAMES
_TOKEN = re.compile(
    r"[0-9]++(?:,[0-9]{3}(?![0-9])|[-–/.:][0-9]++)*+(?:(?:st|nd|rd|th|['’]?s)\b)?+"
    r"|[^\W_]++(?:['’][^\W_]++)*+|[-–]|[.,;:?!()\"“”—…]++"
)
ENDS = frozenset('.,;:?!()"“”—…') | {""}
"""What ends a clause: punctuation, or the text's end."""
PADDING = 4


def split(text: str) -> tuple[list[str], list[re.Match[str]]]:
    """Return the words and marks of a text in lower case, and where each stands.

    The list of words ends with `PADDING` empty ones, so that the words behind the last may be looked at.
    """
    matches = list(_TOKEN.finditer(text))
    words = [match[0].lower() for match in matches]
    for position, word in enumerate(words):
        if not word.isalnum():
            words[position] = _plain(word)
    return words + [""] * PADDING, matches


def _plain(word: str) -> str:
    """Return a word without its possessive ("yesterday's"), one mark for a run of them, one sort of dash."""
    if word[0] in ENDS:
        return word[0]
    word = word.replace("’", "'").replace("–", "-")
    if word.endswith("'s") and word[:-2] in _STEMS:
        return word[:-2]
    stem = word.replace("'", "")
    return stem if stem in _POSSESSIVES or stem[:1].isdigit() else word


_POSSESSIVES = frozenset(word for name in HOLIDAYS for word in name.split() if word.endswith("s"))


def days(first: int, end: int) -> Span:
    """Return the span from day number `first` up to day number `end`, exclusive."""
    return first * DAY, end * DAY


def day_number(year: int, month: int, day: int = 1) -> int:
    """Return the number of a day, clipped to the years 1 to 9999; months and days may run over their ends."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    if year < 1:
        return LOW // DAY
    if year > 9999:
        return HIGH // DAY
    return date(year, month, 1).toordinal() + day - 1


def shift_months(number: int, months: int) -> int:
    """Return the same day of the month so many months later; the month's last day where it is shorter."""
    if not LOW // DAY <= number < HIGH // DAY:
        return number
    at = date.fromordinal(number)
    first = day_number(at.year, at.month + months)
    last = day_number(at.year, at.month + months + 1) - 1
    return max(min(first + at.day - 1, last), first)


def month_span(year: int, month: int, count: int = 1) -> Span:
    """Return `count` whole months from this one on."""
    return days(day_number(year, month), day_number(year, month + count))


def dates_span(year: int, month: int, first: int, last: int) -> Span | None:
    """Return the days `first` to `last`, inclusive, of a month; None if the month has no such days."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= first <= last <= monthrange(year, month)[1]):
        return None
    return days(day_number(year, month, first), day_number(year, month, last + 1))


def weekday_of(number: int) -> int:
    """Return 0 for a Monday to 6 for a Sunday."""
    return (number - 1) % 7


def nth_weekday(span: Span, weekday: int, nth: int) -> Span | None:
    """Return the `nth` weekday of a span, -1 for its last; None if the span has no such day."""
    first, end = span[0] // DAY, span[1] // DAY
    if nth < 0:
        day = end - 1 - (weekday_of(end - 1) - weekday) % 7
    else:
        day = first + (weekday - weekday_of(first)) % 7 + 7 * (nth - 1)
    return days(day, day + 1) if first <= day < end else None


def holiday_span(name: str, year: int) -> Span | None:
    """Return the day of a holiday in a year; None outside the years 1 to 9999."""
    if not 1 <= year <= 9999:
        return None
    if name in _FIXED:
        return dates_span(year, *_FIXED[name], _FIXED[name][1])
    if name in _NTH_WEEKDAYS:
        month, weekday, nth = _NTH_WEEKDAYS[name]
        return nth_weekday(month_span(year, month), weekday, nth)
    if name == "black friday":
        thanksgiving = holiday_span("thanksgiving", year)
        return thanksgiving and (thanksgiving[0] + DAY, thanksgiving[1] + DAY)
    day = _easter(year) + _EASTER[name]
    return days(day, day + 1)


def _easter(year: int) -> int:
    century, rest = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    week = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    late = (year % 19 + 11 * moon + 22 * week) // 451
    month, day = divmod(moon + week - 7 * late + 114, 31)
    return day_number(year, month, day + 1)


def third_of(span: Span, third: int) -> Span:
    """Return the early, middle or late third of a span; a month's begin on its days 1, 11 and 21."""
    first, end = span[0] // DAY, span[1] // DAY
    width = 10 if 28 <= end - first <= 31 else (end - first) / 3
    # People count 1990 to 1993 as the early 90s.
    if 3650 <= end - first <= 3653:
        return days(shift_months(first, (0, 48, 84)[third]), shift_months(first, (48, 84, 120)[third]))
    edges = (first, first + round(width), first + round(2 * width), end)
    return days(edges[third], edges[third + 1])
