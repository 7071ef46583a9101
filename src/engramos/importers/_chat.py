"""Messages in the shape of the OpenAI and Anthropic chat interfaces: `{role, content, ...}`."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from engramos.errors import InvalidInputError, QuotaExceededError
from engramos.importers._problems import kind, problem
from engramos.importers._times import first_time
from engramos.messages import Message, Problem, check_role

SESSION_KEYS = ("session", "session_id", "conversation_id", "thread_id")
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system", "function": "tool"}
_UNSAID = ("thinking", "redacted_thinking", "reasoning")
_MAX_LINK_LENGTH = 200

Piece = tuple[str, str]
"""A role and what it says."""


def read_message(record: Any, position: str, session: str | None = None) -> Iterator[Message | Problem]:
    """Yield the message that a JSON value is, or the one problem with it.

    Parts that call a tool or give its result become messages of their own with role `tool`; the second and later
    messages made from one record have `/2`, `/3`, ... behind its id.

    Args:
        record: any JSON value.
        position: where it stands in its file.
        session: the conversation, if the record names none.
    """
    try:
        yield from _messages(record, session)
    except (InvalidInputError, QuotaExceededError) as error:
        yield problem(position, error, record)
    except RecursionError:
        yield problem(position, "is nested too deeply to be a message", record)


def read_role(role: Any) -> str:
    """Return one of our four roles for a role as others name it (`human`, `model`, `developer`, ...).

    Raises:
        InvalidInputError: if it is none that is known.
    """
    return check_role(_ROLES.get(role, role) if isinstance(role, str) else role)


def read_name(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first text or whole number under `keys`, as text; None if all are missing, null or empty.

    Raises:
        InvalidInputError: if a value is of another kind.
    """
    for key in keys:
        value = record.get(key)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidInputError(f"{key} is {kind(value)}, not a name")
        return str(value)
    return None


def read_pieces(content: Any, role: str) -> list[Piece]:
    """Return what a message's content says, in order; neighbours of one role are joined, blank ones left out.

    Text is kept as it is; images, files and the like are named in brackets; a model's unsaid thinking is left out.

    Raises:
        InvalidInputError: if it is no text and no list of parts.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [(role, content)] if content.strip() else []
    if not isinstance(content, list):
        raise InvalidInputError(f"content is {kind(content)}, not a text or a list of parts")
    said = [piece for part in content if (piece := _read_part(part, role)) and piece[1].strip()]
    return [(role, "\n".join(text for _, text in group)) for role, group in groupby(said, key=lambda piece: piece[0])]


def _messages(record: Any, session: str | None) -> list[Message]:
    if not isinstance(record, dict):
        raise InvalidInputError(f"is {kind(record)}, not an object with 'role' and 'content'")
    role = read_role(record.get("role", "user" if record.get("speaker") else None))
    content = record["text"] if record.get("content") is None and "text" in record else record.get("content")
    pieces = read_pieces(content, role) + _read_tool_calls(record)
    if not pieces:
        raise InvalidInputError("the message has no text")
    at = first_time(record)
    session = read_name(record, SESSION_KEYS) or session
    speaker = read_name(record, ("speaker", "name"))
    message_id = read_name(record, ("id", "message_id", "uuid"))
    return [
        Message(
            text,
            who,
            speaker=speaker if who == role else None,
            at=at,
            session=session,
            message_id=f"{message_id}/{number}" if message_id and number > 1 else message_id,
        )
        for number, (who, text) in enumerate(pieces, 1)
    ]


def _read_part(part: Any, role: str) -> Piece | None:
    if isinstance(part, str):
        return role, part
    if not isinstance(part, dict):
        raise InvalidInputError(f"a part of the content is {kind(part)}, not an object")
    name = part.get("type", "text")
    if not isinstance(name, str):
        raise InvalidInputError(f"a part's type is {kind(name)}, not a text")
    if name in _UNSAID:
        return None
    if name.endswith("tool_use"):
        return "tool", _call(part.get("name"), part.get("input"))
    if name.endswith("tool_result"):
        said = read_pieces(part.get("content"), "tool")
        return "tool", " ".join(["[tool_result]", *(text for _, text in said)])
    if name in ("text", "input_text", "output_text", "refusal"):
        return role, _part_text(part, "refusal" if name == "refusal" else "text")
    return role, _bracketed(name, part)


def _part_text(part: dict[str, Any], key: str) -> str:
    text = part.get(key)
    if isinstance(text, dict):
        text = text.get("value")
    if not isinstance(text, str):
        raise InvalidInputError(f"a part's {key} is {kind(text)}, not a text")
    return text


def _bracketed(name: str, part: dict[str, Any]) -> str:
    """Return a part that is no text as `[image: https://...]`; data inside the part is left out."""
    inner = [part, *(value for value in part.values() if isinstance(value, dict))]
    links = [
        value.get(key) for value in inner for key in ("filename", "file_name", "name", "title", "url", "image_url")
    ]
    short = [link for link in links if isinstance(link, str) and 0 < len(link) <= _MAX_LINK_LENGTH]
    link = next((link for link in short if not link.startswith("data:")), None)
    word = "image" if "image" in name else name.strip()[:64] or "part"
    return f"[{word}: {link}]" if link else f"[{word}]"


def _read_tool_calls(record: dict[str, Any]) -> list[Piece]:
    calls = record.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidInputError(f"tool_calls is {kind(calls)}, not a list")
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in calls]
    if record.get("function_call"):
        functions.append(record["function_call"])
    for function in functions:
        if not isinstance(function, dict):
            raise InvalidInputError(f"a tool call is {kind(function)}, not an object")
    said = [_call(function.get("name"), function.get("arguments", function.get("args"))) for function in functions]
    return [("tool", "\n".join(said))] if said else []


def _call(name: Any, arguments: Any) -> str:
    shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"[tool_use {name}] {shown}" if isinstance(name, str) else f"[tool_use] {shown}"
