"""Connections to one SQLite file, by Python's own sqlite3 or by apsw.

Only what both drivers share is used: `execute`, `executemany`, cursors that are iterated, `in_transaction`, `close`.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engramos.errors import (
    ConfigError,
    CorruptPayloadError,
    EngramosError,
    ForeignStoreError,
    MissingExtraError,
    StoreError,
    translate,
)

APPLICATION_ID = 1701734258
BUSY_TIMEOUT_S = 30.0
DRIVERS = ("sqlite3", "apsw")
DURABILITY = {"full": "FULL", "relaxed": "NORMAL"}


def _apsw() -> Any:
    try:
        import apsw
    except ImportError as error:
        raise MissingExtraError("apsw", "apsw") from error
    return apsw


def connect(path: Path, *, driver: str = "sqlite3", durability: str = "full", vfs: str | None = None) -> Any:
    """Return an open connection in autocommit mode, with WAL and the durability asked for.

    `full` fsyncs at every commit: an acknowledged write survives power loss. `relaxed` fsyncs at checkpoints only: the
    newest commits may be lost, never the file.

    Args:
        path: the file; it is made where it is missing.
        driver: `sqlite3`, or `apsw` (a newer SQLite, and the one that crash tests put a failing disk under).
        durability: `full` or `relaxed`.
        vfs: a name that apsw knows; None is the operating system's.

    Raises:
        ConfigError: for an unknown driver or durability.
        StoreError: if the file cannot be opened.
        ForeignStoreError: if it is no SQLite database.
    """
    if driver not in DRIVERS or durability not in DURABILITY:
        raise ConfigError(f"driver {driver!r}, durability {durability!r}: use {DRIVERS} and {tuple(DURABILITY)}")
    with translate(error_table(driver), f"opening {path}", next_step="check that the folder exists and is writable"):
        if driver == "apsw":
            apsw = _apsw()
            connection = apsw.Connection(str(path), vfs=vfs)
            connection.set_busy_timeout(int(BUSY_TIMEOUT_S * 1_000))
        else:
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        try:
            for pragma in (
                "journal_mode = WAL",
                f"synchronous = {DURABILITY[durability]}",
                "secure_delete = ON",
                "temp_store = MEMORY",
                "cache_size = -16000",
                "wal_autocheckpoint = 4000",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except tuple(error_table(driver)):
            connection.close()
            raise
    return connection


def error_table(driver: str) -> dict[type[Exception], type[EngramosError]]:
    """Return a driver's errors and ours for them, the narrow ones first."""
    if driver == "apsw":
        apsw = _apsw()
        return {apsw.NotADBError: ForeignStoreError, apsw.CorruptError: ForeignStoreError, apsw.Error: StoreError}
    return {
        sqlite3.OperationalError: StoreError,
        sqlite3.IntegrityError: StoreError,
        sqlite3.DatabaseError: ForeignStoreError,
        sqlite3.Error: StoreError,
    }


@contextmanager
def reading_errors(errors: Mapping[type[Exception], type[EngramosError]], what: str) -> Iterator[None]:
    """Turn a driver's errors into ours while reading; a text that is no UTF-8 is damaged, not a failure to read."""
    try:
        with translate(errors, what, next_step="run 'engramos verify'"):
            yield
    except UnicodeDecodeError as error:  # as apsw says it
        raise CorruptPayloadError(what, "unknown", "no UTF-8") from error
    except StoreError as error:  # as sqlite3 says it
        if "Could not decode to UTF-8" not in str(error):
            raise
        raise CorruptPayloadError(what, "unknown", "no UTF-8") from error
