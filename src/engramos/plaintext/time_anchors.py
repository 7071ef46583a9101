"""Readers of times that hang on an event: `two weeks before the trip`, `after moving to Boston`.

Source: ours.
"""

from collections.abc import Container
from datetime import timedelta

from engramos.plaintext import time_words as tw
from engramos.plaintext.time_grammar import Grammar
from engramos.plaintext.time_ranges import Anchored


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SOON = frozenset({"right", "shortly", "soon", "immediately", "just"})
_AMOUNT_UNITS = frozenset({"day", "week", "weekend", "month", "year", *tw.PARTS, *tw.WEEKDAYS})
_MAX_ANCHOR_WORDS = 12
_ANCHOR_STOPS = frozenset({"before", "after", "until", "but"})
_ASKING = frozenset({"what", "who", "whom", "where", "which", "how", "why"})
_AUXILIARIES = _set("did does do is are was were has have had will would can could should")
_NO_EVENTS = _set(
    "a an the that this it then all which what whom who them these those now bed bedtime school work class dinner "
    "lunch breakfast hours dark sunset sunrise midnight noon dawn long day night daytime week weekdays weekends "
    "time times year years and or not"
)
"""Words that name nothing one could look up, when an anchor is no more than these."""
_OTHER_AFTER = _set(
    "look looks looked looking named name names take takes took taking modeled modelled one another ask asks asked "
    "chase chases chased chasing seek sought"
)
"""Words that make another thing of `after`: look after, named after, one after another."""
_DETERMINERS = _set("the a an my your his her its our their this that these those")
_PAST = _set("got went began met came became bought took left started was had")
LEADS = frozenset({*_SOON, *_AMOUNT_UNITS, "before", "after", "since", "until", "till", "during", "prior", "by", "at"})
"""The words, besides numbers, with which such a time begins."""


def read_anchored(grammar: Grammar, i: int, ranges: Container[int]) -> tuple[int, Anchored] | None:
    """Return the time that hangs on an event and begins at word `i`, and the place behind it; or None.

    Args:
        grammar: the words.
        i: the first word's place.
        ranges: the places where ranges of time begin; the event's name ends there ("the retreat on 9 February").
    """
    lead = _amount_lead(grammar, i) or _plain_lead(grammar, i)
    if lead is None:
        return None
    start, direction, offset, slack = lead
    end = _anchor_end(grammar, start, i, ranges)
    if end <= start or all(word in _NO_EVENTS for word in grammar.words[start:end]):
        return None
    if grammar.words[i] in {"since", "until", "till"} and not _is_event(grammar, start, end):
        return None
    return end, Anchored(grammar.text(start, end), offset, direction, slack, grammar.text(i, end))


_Lead = tuple[int, str, timedelta, timedelta]


def _amount_lead(grammar: Grammar, i: int) -> _Lead | None:
    """Read `two weeks before`, `the day after`, `shortly after`, `the night of`.

    "A week after" is about a week away; "the week after", as "the weekend after", is the seven days next to the event.
    """
    words = grammar.words
    j = i + (words[i] == "the")
    if words[i] in _SOON and words[i + 1] in {"before", "after"}:
        return _counted_days(i + 2, words[i + 1], 0, 3)
    if words[j] in _AMOUNT_UNITS:
        size = tw.DAYS_OF_UNITS.get(words[j]) or {"month": 30, "year": 365}.get(words[j], 1)
        size = 7 if words[j] in tw.WEEKDAYS else size
        if words[j + 1] in {"before", "after"}:
            return _counted_days(j + 2, words[j + 1], 1, size)
        if words[j + 1] == "of" and j > i and size <= 7:
            return j + 2, "around", timedelta(0), timedelta(days=size / 2)
        return None
    measured = grammar.measure(i)
    if measured is None or words[measured[3]] not in {"before", "after"}:
        return None
    low, high, unit, j = measured
    if unit in tw.SECONDS_OF_UNITS:
        size, sign = tw.SECONDS_OF_UNITS[unit], -1 if words[j] == "before" else 1
        offset = timedelta(seconds=sign * size * (low + high) / 2)
        return j + 1, words[j], offset, timedelta(seconds=size * (high - low + 1) / 2)
    size = tw.DAYS_OF_UNITS.get(unit) or 30.4375 * (tw.MONTHS_OF_UNITS.get(unit) or 12 * tw.YEARS_OF_UNITS[unit])
    return _counted_days(j + 1, words[j], round(low * size - (size - 1) / 2), round(high * size + (size - 1) / 2))


def _counted_days(start: int, direction: str, first: int, last: int) -> _Lead:
    """Return the days `first` to `last`, inclusive, before or after the anchor's day."""
    sign = -1 if direction == "before" else 1
    return start, direction, timedelta(days=sign * (first + last) / 2), timedelta(days=(last - first + 1) / 2)


def _plain_lead(grammar: Grammar, i: int) -> _Lead | None:
    """Read `before`, `after`, `since`, `until`, `during`, `around the time of`."""
    words, word, none = grammar.words, grammar.words[i], timedelta(0)
    if word == "prior" and words[i + 1] == "to":
        return i + 2, "before", none, none
    if word in {"around", "at", "by"} and words[i + 1] == "the" and words[i + 2] == "time":
        direction = "before" if word == "by" else "around"
        slack = none if word == "by" else timedelta(days=3.5)
        return i + 3 + (words[i + 3] in {"of", "that"}), direction, none, slack
    if word == "during":
        return i + 1, "around", none, timedelta(days=3.5)
    if word not in {"before", "after", "since", "until", "till"} or words[i - 1] in tw.UNITS | {"ever"}:
        return None
    if word == "after" and words[i - 1] in _OTHER_AFTER:
        return None
    return i + 1, "before" if word in {"before", "until", "till"} else "after", none, none


def _anchor_end(grammar: Grammar, start: int, begin: int, ranges: Container[int]) -> int:
    """Return where the words that name the anchor end: with the clause, or where another question begins."""
    words, end = grammar.words, start
    is_fronted = begin == 0 or words[begin - 1] in tw.ENDS
    while end < start + _MAX_ANCHOR_WORDS and words[end] not in tw.ENDS and words[end] not in _ANCHOR_STOPS:
        if (
            is_fronted
            and end > start
            and words[end] in _ASKING
            and not _AUXILIARIES.isdisjoint(words[end + 1 : end + 4])
        ):
            break
        if end in ranges and not _NO_EVENTS.issuperset(words[start:end]):
            break
        end += 1
    while end > start and words[end - 1] in {"and", "or", "then", "-"}:
        end -= 1
    return end


def _is_event(grammar: Grammar, start: int, end: int) -> bool:
    """Return whether `since` or `until` leads to an event, and not to a reason ("since she likes dogs")."""
    first = grammar.words[start]
    if first in _DETERMINERS or first.endswith("ing") or grammar.capital(start):
        return end - start > 1 or grammar.capital(start)
    return any(word.endswith("ed") or word in _PAST for word in grammar.words[start + 1 : end])
