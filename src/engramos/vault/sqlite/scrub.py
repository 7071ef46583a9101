"""Scrubbing: removing from the files what deleted rows leave behind.

`secure_delete` overwrites freed pages, but an old full-text segment and the write-ahead log still hold the words until
the index is merged and the log is truncated.

Source: measured with a canary over all files, decision 0006.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engramos import failpoints
from engramos.vault.blobs import BlobStore
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.writer import Writer


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What a scrub reached."""

    is_complete: bool
    """False where a reader of another process kept the write-ahead log from being truncated: scrub again."""
    blobs: tuple[str, ...]
    """Digests of the blobs that were removed."""


def scrub(writer: Writer, blobs: BlobStore, tenant: str, candidates: Sequence[str]) -> Scrubbed:
    """Merge the full-text index, truncate the write-ahead log, remove the candidate blobs that no version uses."""
    failpoints.reach("before_scrub")

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
    return Scrubbed(writer.run_alone(_truncate), removed)


def _truncate(connection: Any) -> bool:
    failpoints.reach("before_checkpoint")
    connection.execute("PRAGMA busy_timeout = 2000")
    try:
        is_busy, _, _ = next(iter(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")))
    except sqlite3.OperationalError:
        # a reader of another process holds the log: the job that called tries again
        return False
    finally:
        connection.execute("PRAGMA busy_timeout = 30000")
    failpoints.reach("after_checkpoint")
    return not is_busy
