"""Audit: what the checks of one tenant share while they read one state of the file."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engramos.cube import MemCube, header_from_json, payload_from_json
from engramos.vault.sqlite import records
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.vault import SqliteVault

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""What parsing bytes that are not what was written may raise."""


@dataclass(frozen=True, slots=True)
class Audit:
    """One tenant's rows, and how many of each sort were checked."""

    connection: Any
    tenant: str
    counts: Counter[str]

    def rows(self, name: str, **values: Any) -> Iterator[Any]:
        """Yield the rows of a named statement with the tenant bound, one in memory at a time."""
        return iter(self.connection.execute(sql(name), values | {"tenant": self.tenant}))

    def one(self, name: str, **values: Any) -> Any:
        """Return the first row of a named statement, or None."""
        return next(self.rows(name, **values), None)


@contextmanager
def damaged(vault: SqliteVault, path: Path | None = None) -> Iterator[Any]:
    """Lend a connection of its own to the vault's file, or to another one.

    With Python's sqlite3 it reads text that is no UTF-8 too, its bytes as lone surrogates; apsw stops at such a text,
    which is found, but not repaired. It is always the vault's own driver: two SQLite libraries in one process would
    take away each other's locks.
    """
    connection = vault.connect(path or vault.path)
    if isinstance(connection, sqlite3.Connection):
        connection.text_factory = _decode
    try:
        yield connection
    finally:
        connection.close()


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def is_text(value: Any) -> bool:
    """Return whether a value read from the file is a text that can be written to it again."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_sound(header: Any, payload: Any, text: Any, digest: Any) -> MemCube | None:
    """Return the cube of a version's row, or None where its bytes are not those of its digest."""
    if not (is_text(header) and is_text(payload) and (text is None or is_text(text))):
        return None
    if records.digest_of(header, payload, text) != digest:
        return None
    try:
        parsed = header_from_json(header)
        return MemCube(parsed, payload_from_json(parsed.form, payload, text))
    except UNREADABLE:
        return None
