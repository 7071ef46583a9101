"""Check of the full-text index: it holds the words of the searched cubes, and nothing else.

The index keeps no text, so the words that it should hold are made again, a batch at a time, in an index in memory, and
both are compared by a sum over all (word, cube, column, place). Sums do not depend on the order of words.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from engramos.rows import Finding
from engramos.vault.sqlite.audit import Audit
from engramos.vault.sqlite.records import owner_token
from engramos.vault.sqlite.sql import sql

BATCH = 2_000
_MASK = (1 << 64) - 1
Errors = tuple[type[Exception], ...]
"""What the driver raises."""


def check_structure(connection: Any, errors: Errors) -> Iterator[Finding]:
    """Yield what SQLite itself finds wrong; it needs the write lock for as long as that takes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(sql("check_text_index"))
    except errors as error:
        yield Finding("text_index", "all tenants", f"its structure is damaged ({error})")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def prepare(connection: Any) -> None:
    """Make the tables in memory that `check_words` needs; outside of any transaction."""
    for name in ("attach_words", "make_expected", "attach_expected_words"):
        connection.execute(sql(name))


def check_words(connection: Any, audits: Iterable[Audit], errors: Errors) -> Iterator[Finding]:
    """Yield a finding where the index does not hold exactly the words of all tenants' searched cubes."""
    if list(connection.execute(sql("text_config"))) != list(connection.execute(sql("expected_config"))):
        yield Finding("text_index", "all tenants", "its settings are not those it was made with")
    try:
        found = _sum(connection.execute(sql("words")))
    except errors as error:
        yield Finding("text_index", "all tenants", f"it cannot be read ({error})")
        return
    expected = 0
    for audit in audits:
        texts = audit.rows("searched_texts")
        while batch := list(islice(texts, BATCH)):
            audit.counts["texts"] += len(batch)
            for cube_key, text, user in batch:
                owner = owner_token(audit.tenant, _plain(user))
                values = {"cube_key": cube_key, "text": plain_text(text), "owner": owner}
                connection.execute(sql("put_expected"), values)
            expected += _sum(connection.execute(sql("expected_words")))
            connection.execute(sql("clear_expected"))
    if found != expected & _MASK:
        yield Finding("text_index", "all tenants", "it does not hold the words of the searched cubes")


def plain_text(text: bytes | None) -> str:
    """Return a text that SQLite takes; one that is damaged is reported with its version."""
    return (text or b"").decode("utf-8", "replace")


def _plain(user: Any) -> str:
    return str(user).encode("utf-8", "replace").decode()


def _sum(rows: Iterable[tuple]) -> int:
    return sum(map(hash, rows)) & _MASK
