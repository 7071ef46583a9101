"""The only sources of time and identity.

Tests replace the time with `engramos.testing.FakeClock`; nothing else in the package reads a clock.
"""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last_id = 0


def _system_us() -> int:
    return time.time_ns() // 1_000


_source: Callable[[], int] = _system_us


def use_source(source: Callable[[], int] | None) -> None:
    """Take the time from `source` (microseconds since 1970, UTC); None means the system's clock."""
    global _source
    _source = source or _system_us


def now() -> datetime:
    """Return the time now, aware, in UTC, to the microsecond."""
    return from_us(_source())


def now_us() -> int:
    """Return the time now as microseconds since 1970, UTC."""
    return _source()


def to_us(at: datetime) -> int:
    """Return an aware time as microseconds since 1970, UTC."""
    delta = at - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(us: int) -> datetime:
    """Return microseconds since 1970 as an aware time in UTC."""
    return EPOCH + timedelta(microseconds=us)


def new_id() -> str:
    """Return a new id: 26 lower-case letters and digits that sort by time of making.

    48 bits of milliseconds and 80 random bits; within one process a later id is always greater, even when the clock
    steps back.

    Source: the ULID specification, https://github.com/ulid/spec.
    Differs: lower case.
    """
    global _last_id
    with _lock:
        value = (_source() // 1_000) << 80 | int.from_bytes(os.urandom(10))
        if value <= _last_id:
            value = _last_id + 1 + int.from_bytes(os.urandom(4))
        _last_id = value
    return encode_id(value)


def encode_id(value: int) -> str:
    """Return the 26 characters of a 128-bit number."""
    return "".join([_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)])


def is_id(text: str) -> bool:
    """Return whether `text` has the shape of an id."""
    return len(text) == 26 and all(letter in _ALPHABET for letter in text)
