"""ChatGPT's data export."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import InvalidInputError, QuotaExceededError
from engramos.importers._chat import read_name, read_role
from engramos.importers._json_file import load_json, records_of
from engramos.importers._problems import kind, problem
from engramos.importers._shape import shape
from engramos.importers._times import read_at
from engramos.importers.base import Importer
from engramos.messages import Message, Problem

_UNSAID = ("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context")
_NAMED_PARTS = {
    "image_asset_pointer": "[image]",
    "audio_asset_pointer": "[audio]",
    "real_time_user_audio_video_asset_pointer": "[audio]",
    "video_container_asset_pointer": "[video]",
}


@dataclass(frozen=True, slots=True)
class Chatgpt(Importer):
    """Reads `conversations.json`, or the zip that holds it.

    A conversation is a tree, because questions can be edited and answers made again: only the branch that ends in
    `current_node` is read, oldest turn first. System, hidden and empty turns and the model's unsaid thinking are left
    out. A turn without a time has its conversation's.

    Source: the layout of OpenAI's data export, as of 2025.
    """

    reads: ClassVar[str] = "ChatGPT export: conversations.json or the zip that holds it"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first conversation has a `mapping`."""
        return shape(path, head) == "chatgpt"

    def read(self, path: Path) -> Iterator[Message | Problem]:
        """Yield the turns of each conversation's current branch; see `Importer.read`."""
        conversations = records_of(path, load_json(path, may_be_zip=True), "mapping")
        for number, conversation in enumerate(conversations):
            yield from _read_conversation(conversation, f"conversations[{number}]")


def _read_conversation(conversation: Any, position: str) -> Iterator[Message | Problem]:
    try:
        if not isinstance(conversation, dict) or not isinstance(conversation.get("mapping"), dict):
            raise InvalidInputError(f"is {kind(conversation)}, not a conversation with an object 'mapping'")
        session = read_name(conversation, ("conversation_id", "id")) or position
        started_at = read_at(conversation.get("create_time"))
        branch = _current_branch(conversation)
    except InvalidInputError as error:
        yield problem(position, error, conversation)
        return
    for name in branch:
        node = conversation["mapping"][name]
        try:
            message = _read_node(node, session, started_at)
        except (InvalidInputError, QuotaExceededError) as error:
            yield problem(f'{position}.mapping["{name}"]', error, node)
            continue
        if message:
            yield message


def _current_branch(conversation: dict[str, Any]) -> list[str]:
    """Return the ids of the nodes from the root to the current one."""
    mapping = conversation["mapping"]
    if not mapping:
        return []
    parents = {
        child: name
        for name, node in mapping.items()
        if isinstance(node, dict) and isinstance(node.get("children"), list)
        for child in node["children"]
        if isinstance(child, str)
    }
    parents |= {
        name: node["parent"]
        for name, node in mapping.items()
        if isinstance(node, dict) and isinstance(node.get("parent"), str)
    }
    name = conversation.get("current_node")
    if name is None:
        name = next(reversed(mapping))
    if not isinstance(name, str) or name not in mapping:
        raise InvalidInputError("current_node names no node of the mapping")
    branch: dict[str, None] = {}
    while name in mapping:
        if name in branch:
            raise InvalidInputError("the mapping runs in a circle")
        branch[name] = None
        name = parents.get(name)
    return list(reversed(branch))


def _read_node(node: Any, session: str, started_at: datetime | None) -> Message | None:
    if not isinstance(node, dict):
        raise InvalidInputError(f"is {kind(node)}, not a node of a conversation")
    message = node.get("message")
    if message is None:
        return None
    if not isinstance(message, dict) or not isinstance(message.get("author"), dict):
        raise InvalidInputError("the message has no author")
    metadata = message.get("metadata")
    role = read_role(message["author"].get("role"))
    is_hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
    if role == "system" or is_hidden or message.get("weight") == 0:
        return None
    text = _read_content(message.get("content"))
    if not text.strip():
        return None
    if role == "assistant" and message.get("recipient") not in (None, "all"):
        role = "tool"
    return Message(
        text,
        role,
        speaker=read_name(message["author"], ("name",)),
        at=read_at(message.get("create_time")) or started_at,
        session=session,
        message_id=read_name(message, ("id",)) or read_name(node, ("id",)),
    )


def _read_content(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, dict):
        raise InvalidInputError(f"content is {kind(content)}, not an object")
    if content.get("content_type") in _UNSAID:
        return ""
    parts = content.get("parts", [content.get("text") or content.get("result") or ""])
    if not isinstance(parts, list):
        raise InvalidInputError(f"parts is {kind(parts)}, not a list")
    said = [_read_part(part) for part in parts if part is not None]
    return "\n".join(text for text in said if text.strip())


def _read_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise InvalidInputError(f"a part of the content is {kind(part)}, not a text")
    if isinstance(part.get("text"), str):
        return part["text"]
    name = part.get("content_type")
    return _NAMED_PARTS.get(name, f"[{name[:64]}]") if isinstance(name, str) else "[part]"
