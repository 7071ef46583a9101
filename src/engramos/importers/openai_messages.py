"""Chat messages in the shape of the OpenAI and Anthropic interfaces, in one JSON file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import ImportFailedError, InvalidInputError
from engramos.importers._chat import SESSION_KEYS, read_message, read_name
from engramos.importers._json_file import load_json
from engramos.importers._problems import kind, problem
from engramos.importers._shape import shape
from engramos.importers.base import Importer
from engramos.messages import Message, Problem


@dataclass(frozen=True, slots=True)
class OpenaiMessages(Importer):
    """Reads a list of `{role, content, ...}`, `{"messages": [...]}`, or a list of such conversations.

    Besides role and content it reads `name` or `speaker`; `timestamp`, `created_at` or `at` (ISO 8601, in UTC where no
    time zone is named, or seconds or milliseconds since 1970); `session` or `conversation_id`; `id`. Tool calls and
    their results become messages with role `tool`; images and files are named in brackets.

    Source: the message formats of the OpenAI Chat Completions and the Anthropic Messages interfaces.
    """

    reads: ClassVar[str] = "JSON list of OpenAI or Anthropic chat messages"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file starts with messages that have a role, or with a list of them under `messages`."""
        return shape(path, head) == "openai_messages"

    def read(self, path: Path) -> Iterator[Message | Problem]:
        """Yield the messages of the file; see `Importer.read`."""
        value = load_json(path)
        if isinstance(value, dict) and isinstance(value.get("messages"), list):
            yield from _read_conversation(value, "")
            return
        if not isinstance(value, list):
            raise ImportFailedError(
                str(path),
                "top level",
                f"is {kind(value)}, not a list of messages and no object with 'messages'"
                ": choose another file or another format",
            )
        for number, record in enumerate(value):
            if isinstance(record, dict) and isinstance(record.get("messages"), list):
                yield from _read_conversation(record, f"[{number}].")
            else:
                yield from read_message(record, f"messages[{number}]")


def _read_conversation(conversation: dict[str, Any], before: str) -> Iterator[Message | Problem]:
    try:
        session = read_name(conversation, (*SESSION_KEYS, "id"))
    except InvalidInputError as error:
        yield problem(f"{before}session", error, conversation)
        session = None
    for number, record in enumerate(conversation["messages"]):
        yield from read_message(record, f"{before}messages[{number}]", session)
