"""Readers of the expressions that begin with a word: `last May`, `the week of 5 June`, `early 2022`, `Halloween`.

Weeks begin on Monday (ISO 8601) and weekends are Saturday and Sunday; seasons are the northern meteorological ones,
whole months from March, June, September and December, because months are what people remember of a season, and a
winter has the number of the year of its December. What names no year (week, month) is the latest that began by now;
`last` is the latest that has ended, `next` the first that has not begun, `this` the one of this year or week.

Source: ours.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from engramos.plaintext import time_words as tw
from engramos.plaintext.time_grammar import AMOUNTS, Grammar, Period, Readers, map_period
from engramos.plaintext.time_words import DAY, Span

_ROLLING = frozenset({"in", "over", "during", "within", "for", "throughout", "across"})
_COUNTABLE = frozenset({"the", "these", "this", "my", "our", "his", "her", "their"}) | _ROLLING
_CALENDAR = frozenset({"week", "month", "quarter", "year", "decade"})
_NAMED = frozenset({*tw.ALL_MONTHS, *tw.ALL_WEEKDAYS, *tw.SEASONS, *tw.HOLIDAYS_BY_WORD, "weekend"})


def _shift(word: str) -> int:
    return -1 if word in tw.LAST else 1 if word in tw.NEXT else 0


def _relative(grammar: Grammar, i: int) -> Period | None:
    """Read `last May`, `next Friday`, `this weekend`, `last night`, `the past two weeks`."""
    words, word, j = grammar.words, grammar.words[i], i + 1
    found = grammar.nth(i) if word == "last" else None
    if found:
        return found
    if word == "this" and words[j] in tw.LAST:
        word, j = words[j], j + 1
    unit, shift = words[j], _shift(word)
    if unit in tw.PARTS:
        return _part_of_now(grammar, word, j)
    if words[j + 1] in {"before", "after"} and (dated := grammar.period(j)) and dated.by is None:
        return dated  # "last week before 23 January": a date follows, and the week is the one next to it
    is_rolling = words[i - 1] == "the" and (words[i - 2] in _ROLLING or word == "past") and words[i] != "this"
    if unit in _CALENDAR and words[j + 1] != "of" and not (is_rolling and shift):
        return Period(j + 1, grammar.unit_span(unit, shift))
    if unit not in _NAMED:
        return _rolling(grammar, i, j, is_rolling, shift) if shift else None
    if unit in tw.FALLS and (words[i - 1] in {"the", "a"} or "when" in words[max(i - 8, 0) : i]):
        return None
    if word == "this" and unit in tw.VERBS and not grammar.capital(j) and words[j + 1] not in tw.ENDS:
        return None
    period = grammar.period(j)
    span = grammar.related(period, word) if period else None
    return Period(period.end, span) if period and span else None


def _rolling(grammar: Grammar, i: int, j: int, is_rolling: bool, shift: int) -> Period | None:
    """Read `last 10 days` and `past few months`; `in the last year` is the twelve months up to now."""
    measured = grammar.measure(j) if grammar.words[j] not in {"a", "an"} else None
    if measured and grammar.words[i - 1] not in _COUNTABLE and grammar.words[i] == "last":
        measured = None  # "how long did it last two weeks ago": the verb
    if measured is None and is_rolling and grammar.words[j] in tw.UNITS:
        measured = (1, 1, grammar.words[j], j + 1)
    if measured is None or grammar.words[measured[3]] == "of":
        return None
    _, count, unit, end = measured
    if unit in tw.SECONDS_OF_UNITS:
        edge = grammar.now + shift * count * tw.SECONDS_OF_UNITS[unit]
    elif unit in tw.DAYS_OF_UNITS:
        edge = (grammar.today + shift * count * tw.DAYS_OF_UNITS[unit]) * DAY
    else:
        months = tw.MONTHS_OF_UNITS.get(unit) or 12 * tw.YEARS_OF_UNITS[unit]
        edge = tw.shift_months(grammar.today, shift * count * months) * DAY
    if shift < 0:
        return Period(end, (edge, grammar.now))
    return Period(end, (grammar.now, edge if unit in tw.SECONDS_OF_UNITS else edge + DAY))


def _part_of_now(grammar: Grammar, word: str, j: int) -> Period | None:
    """Read `last night`, `this morning`."""
    part = grammar.words[j]
    if word not in {"last", "this"} or (word == "last" and part not in {"night", "evening"}):
        return None
    day, hours = (grammar.today - (word == "last")) * DAY, tw.PARTS[part]
    return Period(j + 1, (day + hours[0] * 3600, day + hours[1] * 3600))


def _day_word(grammar: Grammar, i: int) -> Period | None:
    day = grammar.today + tw.DAY_WORDS.get(grammar.words[i], 0)
    if grammar.words[i] == "tonight":
        return Period(i + 1, (day * DAY + 18 * 3600, day * DAY + 30 * 3600))
    return Period(i + 1, tw.days(day, day + 1))


def _weekday(grammar: Grammar, i: int) -> Period | None:
    """Read `Friday`, `Friday, 5 May`, `Friday of last week`, `the Friday before 15 July 2023`."""
    words, word = grammar.words, grammar.words[i]
    if word not in tw.WEEKDAYS and not grammar.capital(i):
        return None
    weekday, j = tw.ALL_WEEKDAYS[word], i + 1
    if words[j] in {"before", "after"} and words[i - 1] in {"the", "last"}:
        return _beside(grammar, j, lambda day, sign: _beside_weekday(day, sign, weekday, 1))
    is_date = j + (words[j] == ",")
    is_date += words[is_date] == "the"
    if words[is_date] in tw.ALL_MONTHS or words[is_date][:1].isdigit():
        dated = grammar.period(is_date)
        if dated and grammar.is_day(dated):
            return dated
    j += words[j] in {"of", "in"}
    if words[j] in tw.RELATIVE and words[j + 1] == "week":
        first = (grammar.week + _shift(words[j])) * 7 + 1 + weekday
        return Period(j + 2, tw.days(first, first + 1))
    return Period(i + 1, by=lambda k: tw.days(k * 7 + 1 + weekday, k * 7 + 2 + weekday), index=grammar.week, bare=True)


def _beside(grammar: Grammar, j: int, change: Callable[[int, int], Span]) -> Period | None:
    """Return what `before` or `after` at word `j` leads to; `change` takes the nearest day outside and -1 or 1."""
    sign = -1 if grammar.words[j] == "before" else 1
    period = grammar.period(j + 1)
    span = grammar.settle(period) if period and (not period.bare or grammar.words[period.end] in tw.ENDS) else None
    if period is None or span is None:
        return None
    return Period(period.end, change(span[0] // DAY - 1 if sign < 0 else -(-span[1] // DAY), sign))


def _beside_weekday(day: int, sign: int, weekday: int, count: int) -> Span:
    """Return the `count` days from the nearest such weekday at or beyond `day`."""
    if sign < 0:
        last = (weekday + count - 1) % 7
        end = day - (tw.weekday_of(day) - last) % 7 + 1
        return tw.days(end - count, end)
    first = day + (weekday - tw.weekday_of(day)) % 7
    return tw.days(first, first + count)


def _season(grammar: Grammar, i: int) -> Period | None:
    word = grammar.words[i]
    found = grammar.with_year(i + 1, lambda year: tw.month_span(year, tw.SEASONS[word], 3), bare=True)
    if found and found.by is None:
        return replace(found, bare=False)
    return found if grammar.words[i + 1] not in {"of", "from", "off", "down", "into"} else None


def _holiday(grammar: Grammar, i: int) -> Period | None:
    for name in tw.HOLIDAYS_BY_WORD[grammar.words[i]]:
        end = i + len(name)
        if tuple(grammar.words[i:end]) == name:
            after = grammar.words[end]
            if after == "-" or after in tw.HOLIDAY_THINGS:
                return None
            return grammar.with_year(end, partial(tw.holiday_span, " ".join(name)))
    return grammar.month(i) if grammar.words[i] in tw.ALL_MONTHS else None


def _third(grammar: Grammar, i: int) -> Period | None:
    """Read `early May 2023`, `mid-June`, `the end of last month`."""
    third, j = tw.THIRDS[grammar.words[i]], i + 1
    if grammar.words[i] in {"early", "mid", "late"}:
        period = grammar.period(j + (grammar.words[j] in {"-", "in"}))
    else:
        period = grammar.whole(j + 1) if grammar.words[j] == "of" else None
    span = grammar.settle(period) if period else None
    if period is None or span is None or span[1] - span[0] < 5 * DAY:
        return None
    return map_period(replace(period, bare=False), period.end, lambda span: tw.third_of(span, third))


def _unit(grammar: Grammar, i: int) -> Period | None:
    """Read `the week of 5 June`, `the week before last`, `the day before yesterday`, `the weekend`."""
    words, unit, j = grammar.words, grammar.words[i], i + 1
    if words[j] == "of":
        return _unit_of(grammar, i)
    if unit == "year" and (year := grammar.year_at(j)):
        return Period(j + 1, tw.month_span(year, 1, 12))
    if words[i - 1] not in {"the", "last"} and not (unit == "weekend" and words[i - 1] in tw.RELATIVE):
        return None
    if words[j] == "before" and words[j + 1] == "last":
        if unit in {"night", "weekend"}:
            first = grammar.today - 2 if unit == "night" else (grammar.week - 2) * 7 + 6
            return Period(
                j + 2, (first * DAY + 64_800, first * DAY + 108_000) if unit == "night" else tw.days(first, first + 2)
            )
        span = grammar.unit_span(unit, -2)
        return Period(j + 2, span) if span else None
    if words[j] in {"before", "after"}:
        return _beside(grammar, j, lambda day, sign: _unit_beside(day, sign, unit))
    if unit == "weekend":
        return Period(j, by=lambda k: tw.days(k * 7 + 6, k * 7 + 8), index=grammar.week, bare=True)
    return None


def _unit_of(grammar: Grammar, i: int) -> Period | None:
    unit = grammar.words[i]
    period = grammar.period(i + 2)
    span = grammar.settle(period) if period else None
    if period is None or span is None or unit in {"decade", "quarter"}:
        return None
    if unit in {"month", "year"}:
        return replace(period, bare=False) if span[1] - span[0] >= 28 * DAY else None
    if span[1] - span[0] != DAY:
        return None
    if unit in {"week", "weekend"}:
        start, end = (0, 7) if unit == "week" else (5, 7)
        return map_period(period, period.end, lambda one: _in_week(one, start, end))
    hours = tw.PARTS.get(unit, (0, 24))
    return map_period(period, period.end, lambda one: (one[0] + hours[0] * 3600, one[0] + hours[1] * 3600))


def _in_week(span: Span, start: int, end: int) -> Span:
    monday = span[0] // DAY - tw.weekday_of(span[0] // DAY)
    return tw.days(monday + start, monday + end)


def _unit_beside(day: int, sign: int, unit: str) -> Span:
    """Return the whole unit that ends (sign -1) or begins (1) with a day."""
    if unit == "weekend":
        return _beside_weekday(day, sign, 5, 2)
    if unit in tw.DAYS_OF_UNITS or unit in tw.PARTS:
        size = tw.DAYS_OF_UNITS.get(unit, 1)
        return tw.days(day - size + 1, day + 1) if sign < 0 else tw.days(day, day + size)
    size = tw.MONTHS_OF_UNITS.get(unit) or 12 * tw.YEARS_OF_UNITS[unit]
    if sign < 0:
        return tw.days(tw.shift_months(day + 1, -size), day + 1)
    return tw.days(day, tw.shift_months(day, size))


def _quarter(grammar: Grammar, i: int) -> Period | None:
    quarter = int(grammar.words[i][1])
    found = grammar.with_year(i + 1, lambda year: tw.month_span(year, 3 * quarter - 2, 3), bare=True)
    return replace(found, bare=found.by is not None) if found else None


def _side_of_now(grammar: Grammar, i: int) -> Period | None:
    """Read `earlier this year` and `later today`."""
    is_earlier, j = grammar.words[i] == "earlier", i + 1
    span = grammar.unit_span(grammar.words[j + 1], 0) if grammar.words[j] == "this" else None
    end = j + 2
    if grammar.words[j] == "today":
        span, end = tw.days(grammar.today, grammar.today + 1), j + 1
    if span is None:
        return None
    return Period(end, (span[0], grammar.now) if is_earlier else (grammar.now, span[1]))


def _the(grammar: Grammar, i: int) -> Period | None:
    """Read an expression with its article; one that names a thing ("the March", "the Christmas we met") is none."""
    found = grammar.period(i + 1) if grammar.words[i + 1] != "the" else None
    if found is None:
        return None
    word = grammar.words[i + 1]
    if found.by is not None and found.end == i + 2 and word not in tw.SEASONS and word != "weekend":
        return None
    if found.by is None and found.bare and grammar.words[found.end] not in tw.ENDS:
        return replace(found, bare=False)
    return found


def _readers() -> Readers:
    names: list[tuple[object, Callable[[Grammar, int], Period | None]]] = [
        (AMOUNTS, Grammar.counted),
        ({*tw.NTHS, "final"}, Grammar.nth),
        (tw.ALL_MONTHS, Grammar.month),
        (tw.ALL_WEEKDAYS, _weekday),
        (tw.SEASONS, _season),
        (tw.HOLIDAYS_BY_WORD, _holiday),
        ({*tw.DAY_WORDS, "tonight"}, _day_word),
        (tw.RELATIVE, _relative),
        (tw.THIRDS, _third),
        ({"day", "week", "weekend", "month", "year", "quarter", "decade", *tw.PARTS}, _unit),
        ({"q1", "q2", "q3", "q4"}, _quarter),
        ({"earlier", "later"}, _side_of_now),
        ({"the"}, _the),
    ]
    return {name: reader for keys, reader in names for name in keys}


READERS = _readers()
