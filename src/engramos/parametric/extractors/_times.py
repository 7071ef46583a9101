"""Days that words mean, counted from the day on which they were said."""

import re
from datetime import date, timedelta

from engramos.parametric.extractors._words import DATE, MANY, NUMBERS

_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_MONTHS = "January February March April May June July August September October November December".split()
_DAY_NAME = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
TIME = (
    rf"(?:(?:[Tt]he )?day before yesterday|[Yy]esterday|[Tt]oday|[Tt]his morning|[Ll]ast night|[Ll]ast (?:week"
    rf"|weekend|month|year|{_DAY_NAME})"
    rf"|this past weekend|(?:(?:about |around )?(?:\d+|a|{MANY}) years? ago)|(?:(?:about |around )?(?:\d+|a|{MANY})"
    rf" (?:days?|weeks?|months?) ago)|on {_DAY_NAME}|(?:on|in|back in) (?:the )?{DATE})"
)
"""Words that say when something was."""
_AGO = re.compile(rf"(?:about |around )?(\d+|an?|{MANY}) (day|week|month|year)s? ago")


def shown(day: date) -> str:
    """Return a day as it is written in answers: `7 May 2023`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def preposition(time: str) -> str:
    """Return what stands before a time within a sentence, with a space; empty where nothing does."""
    if "before" in time:
        return "in " if time.startswith("the week") else ""
    if time.startswith("about"):
        return "in "
    return "in " if re.fullmatch(r"(?:[A-Z][a-z]+\.?,? ?)?(?:\d{4})?", time) else "on "


def when(words: str, said: date | None) -> str | None:
    """Return the day, month or year that words mean; None where that is not sure.

    Args:
        words: as `TIME` takes them.
        said: the day on which they were said; None where unknown.
    """
    text = words.lower()
    if match := re.fullmatch(rf"(?:on|in|back in) (?:the )?({DATE})", words):
        return match[1]
    if said is None:
        return None
    back = {"yesterday": 1, "last night": 1, "day before yesterday": 2, "today": 0, "this morning": 0}
    if (days := back.get(text.removeprefix("the "))) is not None:
        return shown(said - timedelta(days=days))
    if match := _AGO.fullmatch(text):
        return _ago(text, match[1], match[2], said)
    if text in ("last week", "last weekend", "this past weekend"):
        return f"the {text.split()[-1]} before {shown(said)}"
    if text == "last month":
        return f"{_MONTHS[said.month - 2]} {said.year - (said.month == 1)}"
    if text == "last year":
        return str(said.year - 1)
    return _weekday(text, said)


def _ago(text: str, number: str, unit: str, said: date) -> str | None:
    """Return when so many units ago was, as exactly as people mean it."""
    count = NUMBERS.get(number) or (1 if number in ("a", "an") else int(number))
    if count > 100:
        return None
    if unit == "day" and count < 8 and not text.startswith(("about", "around")):
        return shown(said - timedelta(days=count))
    if unit == "year":
        return f"about {said.year - count}"
    return f"about {count} {unit}{'s' if count > 1 else ''} before {shown(said)}"


def _weekday(text: str, said: date) -> str | None:
    """Return the latest day of a name before another day."""
    name = text.split(" ")[-1]
    numbers = [number for number, day in enumerate(_DAYS) if day.startswith(name[:3])]
    if not numbers:
        return None
    return shown(said - timedelta(days=(said.weekday() - numbers[0] - 1) % 7 + 1))
