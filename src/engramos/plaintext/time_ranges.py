"""What is read from a time expression: a range, or a time that hangs on something else.

Source: ours.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engramos.errors import InvalidInputError

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of time that a question names: aware, in UTC, start < end, end exclusive."""

    start: datetime
    end: datetime
    text: str
    """The words of the question that it was read from."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """A time that hangs on something else, whose time must be looked up first: `two weeks before the trip`."""

    anchor: str
    """What to look up: `the trip`."""
    offset: timedelta
    """The shift from the anchor's time; negative for before. A month counts 30.44 days, a year 365.25."""
    direction: str
    """`before`, `after` or `around`."""
    slack: timedelta
    """Half the width around the shifted time; 0 with offset 0 means everything before, or after."""
    text: str
    """The words of the question that it was read from."""

    def resolve(self, at: datetime) -> TimeRange:
        """Return the range, given the aware time of the anchor.

        With a slack of half a day or more, whole days are meant: they are counted from the noon of the anchor's day.

        Raises:
            InvalidInputError: if `at` is naive.
        """
        at = aware(at, "at")
        if self.direction != "around" and not self.slack and not self.offset:
            low, high = (EARLIEST, at) if self.direction == "before" else (at, LATEST)
        else:
            if self.slack >= timedelta(hours=12):
                at = at.replace(hour=12, minute=0, second=0, microsecond=0)
            low, high = shifted(at, self.offset - self.slack), shifted(at, self.offset + self.slack)
        if low >= high:
            low, high = (low, shifted(low, timedelta(seconds=1))) if low < LATEST else (LATEST - timedelta(1), LATEST)
        return TimeRange(low, high, self.text)


def aware(at: datetime, what: str) -> datetime:
    """Return an aware time in UTC, clipped to the years 1 to 9999; `what` names it in the message.

    Raises:
        InvalidInputError: if `at` is naive.
    """
    if at.tzinfo is None:
        raise InvalidInputError(f"{what} is {at}, without a time zone: give an aware time, such as one in UTC")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return EARLIEST if at.year == 1 else LATEST


def shifted(at: datetime, by: timedelta) -> datetime:
    """Return a time in UTC moved by so much, clipped to the years 1 to 9999."""
    try:
        return at + by
    except OverflowError:
        return EARLIEST if by < timedelta(0) else LATEST
