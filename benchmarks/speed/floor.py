"""The floor: what the same rows cost in a bare SQLite with the same durability."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_SCHEMA = """
CREATE TABLE memories (id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL);
CREATE INDEX memories_by_user ON memories (user);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'porter unicode61');
"""


class Floor:
    """Keeps id, user, text, float16 vector and full-text row; nothing else."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)
        self._num = 0

    def add(self, user: str, texts: Sequence[str], rows: np.ndarray) -> None:
        """Store texts with their vectors in one transaction."""
        first, self._num = self._num + 1, self._num + len(texts)
        halves = rows.astype("<f2")
        keys = range(first, self._num + 1)
        memories = [
            (key, f"{key:026d}", user, text, half.tobytes())
            for key, text, half in zip(keys, texts, halves, strict=True)
        ]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO memories (rowid, id, user, text, vector) VALUES (?, ?, ?, ?, ?)", memories
        )
        self._connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", zip(keys, texts, strict=True))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
