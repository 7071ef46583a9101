"""Between filters and journal rows on one side and the values of named statements on the other."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from engramos.clock import from_us, now_us, to_us
from engramos.errors import InvalidInputError, StoreError
from engramos.rows import Filter, JournalRow
from engramos.scope import Scope
from engramos.vault.sqlite import records

MATCH_SIGNS = ("fts5", "unterminated", "no such column", "unknown special query")
"""What SQLite says of a full-text query that it cannot read; the statement around it is fixed."""


def filter_values(scope: Scope, wanted: Filter, as_of: datetime | None) -> dict[str, Any]:
    """Return what a filter binds in `list_heads`."""

    def names(values: Sequence[str]) -> str | None:
        return json.dumps(list(values)) if values else None

    def us(at: datetime | None) -> int | None:
        return None if at is None else to_us(at)

    return {
        "agent": scope.agent,
        "session": scope.session,
        "forms": names(wanted.forms),
        "types": names(wanted.types),
        "states": names(wanted.states),
        "speaker": wanted.speaker,
        "source_ref": wanted.source_ref,
        "label": None if wanted.label is None else f"|{wanted.label}|",
        "min_trust": wanted.min_trust,
        "since_us": us(wanted.since),
        "until_us": us(wanted.until),
        "valid_us": us(as_of),
        "now_us": now_us(),
        "match": None if wanted.match is None else match_in(scope, wanted.match),
    }


def match_in(scope: Scope, match: str) -> str:
    """Return a full-text query narrowed to one user's texts.

    Raises:
        InvalidInputError: if a bracket in it closes what it did not open.
    """
    depth = 0
    for mark in re.findall(r"[()]", re.sub(r'"[^"]*"', "", match)):
        depth += 1 if mark == "(" else -1
        if depth < 0:
            break
    if depth != 0:
        raise InvalidInputError(f"the full-text query {match!r} has a bracket without its partner: add it, or quote it")
    return f"owner : {records.owner_token(scope.tenant, scope.user)} AND text : ({match})"


def refuse_unread(error: StoreError) -> None:
    """Name the full-text query where it is what a statement failed by.

    Raises:
        InvalidInputError: if it is.
    """
    if any(sign in str(error.__cause__) for sign in MATCH_SIGNS):
        said = f"the full-text query does not parse ({error.__cause__})"
        raise InvalidInputError(f'{said}: quote it, as in "ten pounds"') from error


def journal_row(row: Sequence[Any]) -> JournalRow:
    """Return a row of the journal with its time as a time."""
    seq, user, at_us, *rest = row
    return JournalRow(seq, user, from_us(at_us), *rest)
