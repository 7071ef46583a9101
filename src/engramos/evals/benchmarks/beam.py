"""BEAM: questions about chats of up to a million tokens; which messages were they made from?"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ConfigError, ImportFailedError, InvalidInputError, QuotaExceededError
from engramos.evals.benchmarks._files import read_json
from engramos.evals.benchmarks.base import Benchmark, Loaded, Part, Question, turn_of
from engramos.messages import Message

SIZES = ("100K", "500K", "1M")
"""The chats' lengths in tokens, as the folders are named."""
UNANSWERABLE = "abstention"
"""The ability whose questions have no source."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ANCHOR = re.compile(r"([A-Za-z]+)-(\d{1,2})-(\d{4})", re.ASCII)
_MARKER = re.compile(r"\s*->->\s*\d+\s*,[^\n]*\Z", re.ASCII)
_AGAIN = "copy the file again"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Beam(Benchmark):
    """Source-message recall by size and by ability; each chat is one user's memory.

    A chat is `DIR/beam/SIZE/NAME.json.gz` (or `.json`) with the keys `chat` and `probing_questions`, or a folder of the
    original repository, `DIR/beam/chats/SIZE/NAME` with `chat.json` (`chat_trunecated.json` where there is one) and
    `probing_questions/probing_questions.json`; DIR itself may also hold the sizes. Gold are the messages that a
    question's `source_chat_ids` name, however nested. Questions of the ability `abstention` have none and are left out,
    so are those whose sources name no message; both are counted, and so are unknown ids.

    A batch is a session. A message's time is the last time anchor before it, in UTC, plus one second for each message
    since; questions are asked a day after the chat's last message. Many messages of the user end with a mark of how
    they were made, `->-> 4,12`: from `->->`, a number and a comma to the end of the last line it is no part of what was
    said, and is left out by that rule, in messages of both sides. A message counts once, however many of its passages
    are found.

    Raises:
        ConfigError: if `part` names a size that is none of these.

    Source: Tavakoli et al. 2025, Beyond a Million Tokens, https://arxiv.org/abs/2510.27246.
    Differs: no answer is generated, so that only retrieval is measured; chats of 10M tokens are not read.
    """

    part: str = ""
    """The sizes to take, such as `100K` or `100K,1M`; empty takes all that are there."""

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"message": turn_of})

    def __post_init__(self) -> None:
        for size in self._sizes:
            if size not in SIZES:
                raise ConfigError(f"part of beam is {size!r}: use one of {', '.join(SIZES)}, or several with commas")

    @property
    def _sizes(self) -> tuple[str, ...]:
        return tuple(size.strip() for size in self.part.split(",")) if self.part else SIZES

    def load(self, data: Path) -> Loaded:
        """Return the chats and their questions; see `Benchmark.load`."""
        counts: Counter[str] = Counter(questions=0, abstentions=0, dropped=0, unknown_evidence=0, marks=0)
        parts: list[Part] = []
        questions: list[Question] = []
        for size in self._sizes:
            chats = find_chats(data, size)
            if not chats and self.part:
                raise _missing(data, size)
            for name, paths in chats:
                user = f"{size}-{name}"
                chat, asked = _read_chat(paths)
                records = _Reading(paths[0], counts).records(chat)
                parts.append(Part(user, records))
                questions += _questions(paths[-1], user, size, asked, records, counts)
        if not parts:
            raise _missing(data, SIZES[0])
        if not questions:
            raise ImportFailedError(str(data), "source_chat_ids", "no question has sources: is this the whole of BEAM?")
        return Loaded(parts, questions, dict(counts))


def find_chats(data: Path, size: str) -> list[tuple[str, tuple[Path, ...]]]:
    """Return the name of each chat of a size, and its file, or its files with the chat and with the questions."""
    for folder in (data / "beam" / size, data / "beam" / "chats" / size, data / "chats" / size, data / size):
        found: dict[str, tuple[Path, ...]] = {}
        for path in sorted([*folder.glob("*.json"), *folder.glob("*.json.gz")]):
            found[path.name.partition(".")[0]] = (path,)
        for path in folder.glob("*/probing_questions/probing_questions.json"):
            chat = path.parents[1] / "chat_trunecated.json"
            found[path.parents[1].name] = (chat if chat.is_file() else chat.with_name("chat.json"), path)
        if found:
            return sorted(found.items(), key=lambda pair: (len(pair[0]), pair[0]))
    return []


def _missing(data: Path, size: str) -> ImportFailedError:
    return ImportFailedError(
        str(data), f"beam/{size}/*.json.gz", "is missing: get the chats from github.com/mohammadtavakoli78/BEAM"
    )


def _read_chat(paths: Sequence[Path]) -> tuple[list[Any], dict[str, Any]]:
    """Return the batches of a chat, and its questions by ability."""
    values = [read_json(path) for path in paths]
    if len(values) == 1:
        whole = values[0] if isinstance(values[0], dict) else {}
        values = [whole.get("chat"), whole.get("probing_questions")]
    if not isinstance(values[0], list):
        raise ImportFailedError(str(paths[0]), "chat", "is no list of batches: this is another version of BEAM")
    if not isinstance(values[1], dict) or not all(isinstance(asked, list) for asked in values[1].values()):
        raise ImportFailedError(
            str(paths[-1]), "probing_questions", "are no lists by ability: this is another version of BEAM"
        )
    return values[0], values[1]


class _Reading:
    """Reads the messages of one chat, whose times follow from what stood before them."""

    def __init__(self, path: Path, counts: Counter[str]) -> None:
        self.path, self.counts = path, counts
        self.at: datetime | None = None

    def records(self, chat: list[Any]) -> list[Message]:
        made: dict[str, Message] = {}
        for batch_number, batch in enumerate(chat, start=1):
            where = f"chat[{batch_number - 1}]"
            if not isinstance(batch, dict) or not isinstance(batch.get("turns"), list):
                raise self._error(where, "has no list of turns: this is another version of BEAM")
            self._move(batch.get("time_anchor"), where)
            for number, turn in enumerate(batch["turns"]):
                if not isinstance(turn, list):
                    raise self._error(f"{where}.turns[{number}]", "is no list of messages: this is another version")
                for record in turn:
                    message = self._message(record, f"{where}.turns[{number}]", f"batch {batch_number}")
                    if message.message_id in made:
                        raise self._error(f"{where}.turns[{number}]", f"has id {message.message_id} twice: {_AGAIN}")
                    made[message.message_id or ""] = message
        if self.at is None:
            raise self._error("chat", f"has no time anchor: {_AGAIN}")
        return list(made.values())

    def _message(self, record: Any, where: str, session: str) -> Message:
        message_id = record.get("id") if isinstance(record, dict) else None
        content = record.get("content") if isinstance(record, dict) else None
        if not isinstance(message_id, int) or not isinstance(content, str):
            raise self._error(where, f"holds a message without 'id' or 'content': {_AGAIN}")
        self._move(record.get("time_anchor"), f"{where} id {message_id}")
        text = _MARKER.sub("", content)
        self.counts["marks"] += text != content
        try:
            message = Message(text, record.get("role"), at=self.at, session=session, message_id=str(message_id))
        except (InvalidInputError, QuotaExceededError) as error:
            raise self._error(f"{where} id {message_id}", f"{error}; {_AGAIN}") from error
        self.at = self.at and self.at + timedelta(seconds=1)
        return message

    def _move(self, anchor: Any, where: str) -> None:
        if anchor is not None:
            match = _ANCHOR.fullmatch(anchor) if isinstance(anchor, str) else None
            try:
                month, day, year = match.groups() if match else ("", "0", "0")
                self.at = datetime(int(year), MONTHS.index(month[:3].lower()) + 1, int(day), tzinfo=UTC)
            except ValueError as error:
                raise self._error(where, f"has time anchor {anchor!r}, no date such as March-15-2024") from error

    def _error(self, where: str, what: str) -> ImportFailedError:
        return ImportFailedError(str(self.path), where, what)


def _questions(
    path: Path,
    user: str,
    size: str,
    by_ability: Mapping[str, list[Any]],
    records: Sequence[Message],
    counts: Counter[str],
) -> Iterator[Question]:
    known = {record.message_id for record in records}
    last = max(record.at for record in records if record.at)
    for ability, asked in by_ability.items():
        for number, one in enumerate(asked):
            if not isinstance(one, dict) or not isinstance(one.get("question"), str):
                raise ImportFailedError(str(path), f"{ability}[{number}]", f"has no 'question': {_AGAIN}")
            counts["questions"] += 1
            if ability == UNANSWERABLE:
                counts["abstentions"] += 1
                continue
            named = {str(source) for source in sources(one.get("source_chat_ids"))}
            gold = frozenset(source for source in named if source in known)
            counts["unknown_evidence"] += len(named) - len(gold)
            if not gold:
                counts["dropped"] += 1
                continue
            categories = (size, ability, f"{size}.{ability}")
            yield Question(
                f"{user}.{ability}[{number}]", user, one["question"], last + _DAY, categories, {"message": gold}
            )


def sources(named: Any) -> Iterator[Any]:
    """Yield the ids in a question's `source_chat_ids`: one, a list, or lists by name, nested in any way.

    Example:
        >>> list(sources({"first_event": [12], "later": [[52, 60], 71, None]}))
        [12, 52, 60, 71]
    """
    if isinstance(named, dict | list):
        for one in named.values() if isinstance(named, dict) else named:
            yield from sources(one)
    elif named is not None:
        yield named
