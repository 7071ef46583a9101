"""Scrubbing: removing from the files what deleted rows leave behind.

`secure_delete` overwrites what is deleted, but three places still hold the words: old segments of the full-text index,
the write-ahead log, and the unused middle of pages out of which SQLite once moved rows to make room. So the index is
merged, the file is written anew (VACUUM), and the log is truncated.

Source: measured with a canary over all files, decision 0006.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engramos import failpoints
from engramos.errors import StoreError
from engramos.vault.blobs import BlobStore
from engramos.vault.durable import disk_errors
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.writer import Writer

PAGE_BYTES = 4_096
MEMORY_BYTES = 500_000_000
"""A greater file is written anew by way of the disk."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What a scrub reached."""

    is_complete: bool
    """False where another process kept the file or its log from being written anew: scrub again."""
    blobs: tuple[str, ...]
    """Digests of the blobs that were removed."""


def scrub(writer: Writer, blobs: BlobStore, near: Path, tenant: str, candidates: Sequence[str]) -> Scrubbed:
    """Merge the full-text index, write the file anew, truncate the log, remove candidate blobs that no version uses.

    The folder `near`, with what was built of the tenant's vectors, is removed; it is a cache.
    """
    failpoints.reach("before_scrub")
    with disk_errors(StoreError, f"removing {near}"), suppress(FileNotFoundError):
        shutil.rmtree(near)

    def merge(connection: Any) -> list[str]:
        connection.execute(sql("merge_text_index"))
        unused = []
        for blob in candidates:
            values = {"tenant": tenant, "blob": blob}
            if next(iter(connection.execute(sql("blob_users"), values)))[0] == 0:
                unused.append(blob)
        return unused

    unused = writer.run(merge)
    removed = tuple(blob for blob in unused if blobs.erase(tenant, blob))
    return Scrubbed(writer.run_alone(_rewrite), removed)


def _rewrite(connection: Any) -> bool:
    failpoints.reach("before_checkpoint")
    connection.execute("PRAGMA busy_timeout = 2000")
    num_bytes = next(iter(connection.execute("PRAGMA page_count")))[0] * PAGE_BYTES
    connection.execute("PRAGMA temp_store = FILE" if num_bytes > MEMORY_BYTES else "PRAGMA temp_store = MEMORY")
    try:
        connection.execute("VACUUM")
        is_busy, _, _ = next(iter(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")))
    except sqlite3.OperationalError:
        # another process writes, or holds the log: the job that called tries again
        return False
    finally:
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA temp_store = MEMORY")
    failpoints.reach("after_checkpoint")
    return not is_busy
