"""Making, checking and migrating the schema of a vault file.

Migrations are the .sql files beside this one, applied by yoyo-migrations, each in its own transaction. A file of a
newer schema is refused; a file of something else is refused.
"""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from engramos import failpoints
from engramos.errors import ForeignStoreError, NewerSchemaError, StoreError, translate
from engramos.vault.durable import sync_folder
from engramos.vault.sqlite.connection import APPLICATION_ID, BUSY_TIMEOUT_S

SCHEMA_VERSION = 1
MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(path: Path) -> None:
    """Bring the file at `path` to this schema; make it where it is missing.

    Raises:
        ForeignStoreError: if the file is no vault, or is damaged.
        NewerSchemaError: if a newer engramos wrote it.
        StoreError: if the folder cannot be written.
    """
    found = version_of(path)
    if found == SCHEMA_VERSION:
        return
    with _alone(path):
        found = version_of(path)
        if found < SCHEMA_VERSION:
            failpoints.reach("before_migration")
            _migrate(path)
            with translate({OSError: StoreError}, f"syncing {path.parent}"):
                sync_folder(path.parent)
            failpoints.reach("after_migration")


def version_of(path: Path) -> int:
    """Return the schema version of a file, 0 for a missing or empty one.

    Raises:
        ForeignStoreError: if the file is no vault.
        NewerSchemaError: if a newer engramos wrote it.
    """
    # the file is opened by SQLite alone: closing it ourselves would drop the locks of this process's other connections
    try:
        if path.stat().st_size == 0:
            return 0
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"reading {path} failed: {error}; check its permissions") from error
    table = {
        sqlite3.OperationalError: StoreError,
        sqlite3.DatabaseError: ForeignStoreError,
        UnicodeDecodeError: ForeignStoreError,
    }
    with translate(table, f"reading {path}", next_step="choose another folder, or restore it from a backup"):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
        try:
            application_id = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            num_tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'cubes'").fetchone()[0]
            num_own = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE '%yoyo%' AND name NOT LIKE 'sqlite_%'"
            ).fetchone()[0]
        finally:
            connection.close()
    if application_id != APPLICATION_ID and num_own:
        raise ForeignStoreError(f"{path} is a database of another program: choose another folder")
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} has schema {version} and this engramos knows up to {SCHEMA_VERSION}: upgrade engramos"
        )
    return version if num_tables else 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that the operating system drops when this process dies."""
    with translate({sqlite3.Error: StoreError}, f"locking {path.parent}", next_step="check that it is writable"):
        lock = sqlite3.connect(path.parent / "migration.lock", timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            lock.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            lock.close()


def _migrate(path: Path) -> None:
    with warnings.catch_warnings():
        # yoyo stores dates through sqlite3's default adapter, which newer Pythons warn about
        warnings.simplefilter("ignore", DeprecationWarning)
        import yoyo
        from yoyo.backends import get_backend_class
        from yoyo.connections import DatabaseURI

        logging.getLogger("yoyo.migrations").setLevel(logging.WARNING)
        with translate({sqlite3.Error: StoreError, OSError: StoreError}, f"migrating {path}"):
            # yoyo puts the path into a file: URI, so it must be quoted
            uri = DatabaseURI("sqlite", None, None, None, None, quote(os.fspath(path.resolve())), {})
            backend = get_backend_class("sqlite")(uri, "_yoyo_migration")
            try:
                # our own lock is held, so a row in yoyo's lock table is what a killed process left behind
                backend.init_database()
                backend.break_lock()
                backend.apply_migrations(backend.to_apply(yoyo.read_migrations(os.fspath(MIGRATIONS))))
            finally:
                backend.connection.close()
