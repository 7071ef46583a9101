"""The LoCoMo conversations."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import ImportFailedError, InvalidInputError, QuotaExceededError
from engramos.importers._chat import read_name
from engramos.importers._json_file import load_json, records_of
from engramos.importers._problems import kind, problem
from engramos.importers._shape import shape
from engramos.importers._times import make_utc
from engramos.importers.base import Importer
from engramos.messages import Message, Problem

_SESSION = re.compile(r"session_(\d{1,9})", re.ASCII)
_DATE = re.compile(r"(\d{1,2}):(\d\d) ?(am|pm) on (\d{1,2}) ([A-Za-z]+),? (\d{4})", re.ASCII | re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Locomo(Importer):
    """Reads long conversations of two people, each over many dated sessions.

    A turn's session is `conv-26/session_3`, its id the `dia_id`, its time that of its session in UTC plus one second
    for each turn before it, its role `user`, and what an image shows stands behind its text in brackets. A session
    whose date cannot be read is one problem, and its turns are left out.

    Raises:
        ImportFailedError: while reading, if the file has no conversation named `sample`.

    Source: Maharana et al. 2024, Evaluating Very Long-Term Conversational Memory, https://arxiv.org/abs/2402.17753,
        and the data of github.com/snap-research/locomo.
    """

    sample: str | None = None
    """The `sample_id` of the only conversation to read; None reads all."""

    reads: ClassVar[str] = "LoCoMo conversations in JSON"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first record has a `conversation` of sessions, or questions with evidence."""
        return shape(path, head) == "locomo"

    def read(self, path: Path) -> Iterator[Message | Problem]:
        """Yield the turns of each session, in the order of the sessions' numbers; see `Importer.read`."""
        samples = records_of(path, load_json(path), "conversation")
        names = [one.get("sample_id") if isinstance(one, dict) else None for one in samples]
        if self.sample is not None and self.sample not in names:
            known = ", ".join(str(name) for name in names if name is not None)
            raise ImportFailedError(
                str(path), "samples", f"no conversation is named {self.sample!r}; choose one of: {known or 'none'}"
            )
        for number, one in enumerate(samples):
            if self.sample is None or names[number] == self.sample:
                yield from _read_sample(one, f"samples[{number}]")


def _read_sample(sample: Any, position: str) -> Iterator[Message | Problem]:
    try:
        if not isinstance(sample, dict) or not isinstance(sample.get("conversation"), dict):
            raise InvalidInputError(f"is {kind(sample)}, not an object with a 'conversation'")
        name = read_name(sample, ("sample_id",)) or position
    except InvalidInputError as error:
        yield problem(position, error, sample)
        return
    conversation = sample["conversation"]
    found = [match for key in conversation if (match := _SESSION.fullmatch(key))]
    for key in (match.group() for match in sorted(found, key=lambda match: int(match[1]))):
        where = f"{position}.conversation.{key}"
        turns = conversation[key]
        if not isinstance(turns, list):
            yield problem(where, f"is {kind(turns)}, not a list of turns", turns)
            continue
        written = conversation.get(f"{key}_date_time")
        try:
            started_at = None if written is None else _read_date(written)
        except InvalidInputError as error:
            yield problem(f"{where}_date_time", f"{error}; the {len(turns)} turns of {key} are left out", written)
            continue
        for number, turn in enumerate(turns):
            at = started_at + timedelta(seconds=number) if started_at else None
            yield _read_turn(turn, f"{where}[{number}]", f"{name}/{key}", at)


def _read_date(written: Any) -> datetime:
    match = _DATE.fullmatch(written.strip()) if isinstance(written, str) else None
    month = match[5][:3].lower() if match else ""
    if not match or month not in _MONTHS or not 1 <= int(match[1]) <= 12:
        raise InvalidInputError(f"{str(written)[:40]!r} is no date such as '1:56 pm on 8 May, 2023'")
    hour = int(match[1]) % 12 + (12 if match[3].lower() == "pm" else 0)
    return make_utc(written, int(match[6]), _MONTHS.index(month) + 1, int(match[4]), hour, int(match[2]))


def _read_turn(turn: Any, position: str, session: str, at: datetime | None) -> Message | Problem:
    try:
        if not isinstance(turn, dict):
            raise InvalidInputError(f"is {kind(turn)}, not an object with 'speaker' and 'text'")
        text, caption = turn.get("text"), turn.get("blip_caption")
        if caption and isinstance(caption, str) and (text is None or isinstance(text, str)):
            text = f"{text} [image: {caption}]" if text else f"[image: {caption}]"
        message_id = read_name(turn, ("dia_id",))
        return Message(text, speaker=read_name(turn, ("speaker",)), at=at, session=session, message_id=message_id)
    except (InvalidInputError, QuotaExceededError) as error:
        return problem(position, error, turn)
