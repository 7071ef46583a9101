"""A clock that moves only when it is told to."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Self

from engramos import clock
from engramos.messages import check_time

START = datetime(2024, 1, 1, tzinfo=UTC)


class FakeClock:
    """The package's time while the `with` block runs.

    Example:
        >>> from engramos.clock import now
        >>> with FakeClock() as fake:
        ...     fake.advance(days=1)
        ...     now().isoformat()
        '2024-01-02T00:00:00+00:00'
    """

    def __init__(self, at: datetime = START) -> None:
        self._us = clock.to_us(check_time("at", at))
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        clock.use_source(self.read_us)
        return self

    def __exit__(self, *_: object) -> None:
        clock.use_source(None)

    def read_us(self) -> int:
        """Return the time as microseconds since 1970, UTC."""
        return self._us

    @property
    def at(self) -> datetime:
        """The time it shows."""
        return clock.from_us(self._us)

    def set(self, at: datetime) -> None:
        """Show another time, an earlier one too."""
        with self._lock:
            self._us = clock.to_us(check_time("at", at))

    def advance(self, **amount: float) -> None:
        """Go on by an amount of time, in the words of `timedelta`: `days=1`, `microseconds=5`."""
        with self._lock:
            self._us += timedelta(**amount) // timedelta(microseconds=1)
