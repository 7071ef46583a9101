"""Claude's data export."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import InvalidInputError, QuotaExceededError
from engramos.importers._chat import read_name, read_pieces, read_role
from engramos.importers._json_file import load_json, records_of
from engramos.importers._problems import kind, printable, problem
from engramos.importers._shape import shape
from engramos.importers._times import read_at
from engramos.importers.base import Importer, Record
from engramos.messages import Document, Message


@dataclass(frozen=True, slots=True)
class Claude(Importer):
    """Reads `conversations.json`, or the zip that holds it.

    A turn's content parts are read, or its `text` where it has none; empty turns are left out. Attached files are
    named in brackets; where the export holds an attachment's text, it is yielded as a document after its turn.

    Source: the layout of Anthropic's data export, as of 2025.
    """

    reads: ClassVar[str] = "Claude export: conversations.json or the zip that holds it"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first conversation has `chat_messages`."""
        return shape(path, head) == "claude"

    def read(self, path: Path) -> Iterator[Record]:
        """Yield the turns of each conversation and the texts attached to them; see `Importer.read`."""
        conversations = records_of(path, load_json(path, may_be_zip=True), "chat_messages")
        for number, conversation in enumerate(conversations):
            yield from _read_conversation(conversation, f"conversations[{number}]")


def _read_conversation(conversation: Any, position: str) -> Iterator[Record]:
    try:
        if not isinstance(conversation, dict) or not isinstance(conversation.get("chat_messages"), list):
            raise InvalidInputError(f"is {kind(conversation)}, not a conversation with a list 'chat_messages'")
        session = read_name(conversation, ("uuid", "id")) or position
        started_at = read_at(conversation.get("created_at"))
    except InvalidInputError as error:
        yield problem(position, error, conversation)
        return
    for number, turn in enumerate(conversation["chat_messages"]):
        where = f"{position}.chat_messages[{number}]"
        try:
            records = _read_turn(turn, session, started_at)
        except (InvalidInputError, QuotaExceededError) as error:
            yield problem(where, error, turn)
            continue
        except RecursionError:
            yield problem(where, "is nested too deeply to be a message", turn)
            continue
        yield from records


def _read_turn(turn: Any, session: str, started_at: datetime | None) -> list[Record]:
    if not isinstance(turn, dict):
        raise InvalidInputError(f"is {kind(turn)}, not an object with 'sender' and 'text'")
    role = read_role(turn.get("sender"))
    at = read_at(turn.get("created_at")) or started_at
    name = read_name(turn, ("uuid", "id"))
    attached = [*_read_list(turn, "attachments"), *_read_list(turn, "files")]
    pieces = read_pieces(turn.get("content"), role) or read_pieces(turn.get("text"), role)
    brackets = " ".join(f"[file: {_file_name(file)}]" for file in attached)
    if brackets:
        said = [pieces.pop()[1]] if pieces and pieces[-1][0] == role else []
        pieces.append((role, " ".join([*said, brackets])))
    records: list[Record] = [
        Message(text, who, at=at, session=session, message_id=f"{name}/{number}" if name and number > 1 else name)
        for number, (who, text) in enumerate(pieces, 1)
    ]
    for number, file in enumerate(attached, 1):
        text = file.get("extracted_content")
        if isinstance(text, str) and text.strip():
            document_id = f"{name or session}/file/{number}"
            records.append(Document(text, _file_name(file), at=at, document_id=document_id))
    return records


def _read_list(turn: dict[str, Any], key: str) -> list[dict[str, Any]]:
    files = turn.get(key) or []
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise InvalidInputError(f"{key} is no list of objects")
    return files


def _file_name(file: dict[str, Any]) -> str:
    name = file.get("file_name")
    return printable(name, "pasted text") if isinstance(name, str) else "pasted text"
