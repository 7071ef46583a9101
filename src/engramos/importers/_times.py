"""Times as exports write them."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from engramos.clock import from_us
from engramos.errors import InvalidInputError
from engramos.messages import read_time

TIME_KEYS = ("timestamp", "created_at", "at", "create_time", "date", "time")
_FIRST_MILLISECONDS = 1e11
_EPOCH_TEXT = re.compile(r"\d{9,10}(\.\d+)?|\d{13}", re.ASCII)


def read_at(value: Any) -> datetime | None:
    """Return the time that a JSON value names, aware, in UTC; None for null and for an empty text.

    A text is ISO 8601, in UTC where it names no time zone. A number is seconds since 1970, or milliseconds from 1e11
    on (as seconds that would be the year 5138).

    Raises:
        InvalidInputError: if it names no time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return read_at(float(value)) if _EPOCH_TEXT.fullmatch(value) else read_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInputError(f"the date is {str(value)[:40]!r}: write ISO 8601 or seconds since 1970")
    seconds = value / 1_000 if abs(value) >= _FIRST_MILLISECONDS else value
    try:
        return from_us(round(seconds * 1_000_000))
    except OverflowError as error:
        raise InvalidInputError(f"the date is {str(value)[:40]}: outside the years 1 to 9999") from error


def first_time(record: dict[str, Any]) -> datetime | None:
    """Return the time of a message under the first of its usual keys; None if it has none.

    Raises:
        InvalidInputError: if it names no time.
    """
    return next((read_at(record[key]) for key in TIME_KEYS if record.get(key) not in (None, "")), None)


def make_utc(what: str, year: int, month: int, day: int, hour: int, minute: int) -> datetime:
    """Return a time in UTC.

    Raises:
        InvalidInputError: if there is no such time.
    """
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError as error:
        raise InvalidInputError(f"{what!r} is no date: {error}") from error
