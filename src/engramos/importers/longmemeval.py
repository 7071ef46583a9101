"""The LongMemEval haystacks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import ImportFailedError, InvalidInputError, QuotaExceededError
from engramos.importers._chat import read_role
from engramos.importers._json_file import load_json, records_of
from engramos.importers._problems import kind, problem
from engramos.importers._shape import shape
from engramos.importers._times import make_utc
from engramos.importers.base import Importer
from engramos.messages import Message, Problem

_DATE = re.compile(r"(\d{4})/(\d\d)/(\d\d) (?:\([A-Za-z]+\) )?(\d\d):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Longmemeval(Importer):
    """Reads the sessions of each question's haystack, in the order of the file.

    A turn's session is its session id, its id `session_id:n` with n counted from 0, its time that of its session in UTC
    plus one second for each turn before it. A session whose date cannot be read is one problem, and its turns are left
    out. Haystacks of a file share sessions, so read one question at a time to get each turn once.

    Raises:
        ImportFailedError: while reading, if the file has no question `question`.

    Source: Wu et al. 2024, LongMemEval, https://arxiv.org/abs/2410.10813, and its data.
    """

    question: str | None = None
    """The `question_id` of the only haystack to read; None reads all."""

    reads: ClassVar[str] = "LongMemEval haystacks in JSON"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first record has a `question_id` and a haystack."""
        return shape(path, head) == "longmemeval"

    def read(self, path: Path) -> Iterator[Message | Problem]:
        """Yield the turns of each haystack; see `Importer.read`."""
        items = records_of(path, load_json(path), "haystack_sessions")
        names = [item.get("question_id") if isinstance(item, dict) else None for item in items]
        if self.question is not None and self.question not in names:
            raise ImportFailedError(
                str(path), "items", f"none of the {len(items)} questions is {self.question!r}: check its question_id"
            )
        for number, item in enumerate(items):
            if self.question is None or names[number] == self.question:
                yield from read_item(item, f"items[{number}]")


def read_item(item: Any, position: str) -> Iterator[Message | Problem]:
    """Yield the turns of one question's haystack, and the problems with them; see `Longmemeval`."""
    try:
        sessions, dates, names = _read_haystack(item)
    except InvalidInputError as error:
        yield problem(position, error, item)
        return
    for number, turns in enumerate(sessions):
        where = f"{position}.haystack_sessions[{number}]"
        name = names[number]
        if not isinstance(turns, list) or not isinstance(name, str) or not name:
            yield problem(
                where, f"is {kind(turns)} with the id {str(name)[:40]!r}, not a list of turns with an id", turns
            )
            continue
        try:
            started_at = None if dates[number] is None else read_date(dates[number])
        except InvalidInputError as error:
            left_out = f"{error}; the {len(turns)} turns of this session are left out"
            yield problem(f"{position}.haystack_dates[{number}]", left_out, dates[number])
            continue
        for turn_number, turn in enumerate(turns):
            at = started_at + timedelta(seconds=turn_number) if started_at else None
            yield _read_turn(turn, f"{where}[{turn_number}]", name, turn_number, at)


def _read_haystack(item: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Return sessions, dates and ids, of equal length."""
    if not isinstance(item, dict) or not isinstance(item.get("haystack_sessions"), list):
        raise InvalidInputError(f"is {kind(item)}, not an object with a list 'haystack_sessions'")
    sessions = item["haystack_sessions"]
    dates = item.get("haystack_dates")
    dates = [None] * len(sessions) if dates is None else dates
    names = item.get("haystack_session_ids")
    for what, values in (("haystack_dates", dates), ("haystack_session_ids", names)):
        if not isinstance(values, list) or len(values) != len(sessions):
            raise InvalidInputError(f"{what} has not one value for each of the {len(sessions)} sessions")
    return sessions, dates, names


def read_date(written: Any) -> datetime:
    """Return the time that a date such as `2023/05/20 (Sat) 02:21` names, in UTC.

    Raises:
        InvalidInputError: if it is no such date.
    """
    match = _DATE.fullmatch(written.strip()) if isinstance(written, str) else None
    if not match:
        raise InvalidInputError(f"{str(written)[:40]!r} is no date such as '2023/05/20 (Sat) 02:21'")
    year, month, day, hour, minute = (int(number) for number in match.groups())
    return make_utc(written, year, month, day, hour, minute)


def _read_turn(turn: Any, position: str, session: str, number: int, at: datetime | None) -> Message | Problem:
    try:
        if not isinstance(turn, dict):
            raise InvalidInputError(f"is {kind(turn)}, not an object with 'role' and 'content'")
        role = read_role(turn.get("role"))
        return Message(turn.get("content"), role, at=at, session=session, message_id=f"{session}:{number}")
    except (InvalidInputError, QuotaExceededError) as error:
        return problem(position, error, turn)
