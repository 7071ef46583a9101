"""What a file is, from its first bytes; its suffix decides only between kinds of text.

One function for all formats, so that no two importers can claim the same file.
"""

import json
import re
from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError
from engramos.importers._bytes import decode_head
from engramos.importers._zips import ZIP_STARTS, read_member_head

PDF_START = b"%PDF-"
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_MARKDOWN_SUFFIXES = (".md", ".markdown")
_TEXT_SUFFIXES = (".txt", ".text", ".log", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv", ".srt", ".vtt", "")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}
_FIRST_RECORDS = 20


def shape(path: Path, head: bytes) -> str | None:
    """Return the name of the importer for a file; None if it is of no known format.

    Args:
        path: the file; opened again only if it is a zip.
        head: its first bytes.
    """
    if PDF_START in head[:1024]:
        return "pdf"
    if head.startswith(ZIP_STARTS):
        return _zip_shape(path)
    text = decode_head(head)
    if text is None or not text.strip():
        return None
    found = _json_shape(text)
    if found:
        return found
    suffix = path.suffix.lower()
    if suffix in _LINE_SUFFIXES or _is_json_lines(text):
        return "jsonl"
    if suffix in _MARKDOWN_SUFFIXES:
        return "markdown"
    return "text" if suffix in _TEXT_SUFFIXES else None


def _zip_shape(path: Path) -> str | None:
    try:
        inner = decode_head(read_member_head(path))
    except ImportFailedError:
        return None
    found = _json_shape(inner) if inner else None
    return found if found in ("chatgpt", "claude") else None


def _json_shape(text: str) -> str | None:
    value = _start_of_json(text)
    if isinstance(value, dict):
        inner = value.get("conversations")
        records = inner if isinstance(inner, list) else [value]
        if "role" in value:
            return None
    else:
        records = value if isinstance(value, list) else []
    shapes = (_record_shape(record) for record in records[:_FIRST_RECORDS] if isinstance(record, dict))
    return next((found for found in shapes if found), None)


def _record_shape(record: dict[str, Any]) -> str | None:
    if isinstance(record.get("mapping"), dict):
        return "chatgpt"
    if isinstance(record.get("chat_messages"), list):
        return "claude"
    if "question_id" in record and any(key.startswith("haystack_") for key in record):
        return "longmemeval"
    if _is_locomo(record):
        return "locomo"
    if isinstance(record.get("messages"), list) or "role" in record:
        return "openai_messages"
    return None


def _is_locomo(record: dict[str, Any]) -> bool:
    conversation = record.get("conversation")
    if isinstance(conversation, dict):
        return any(key == "speaker_a" or key.startswith("session_") for key in conversation)
    questions = record.get("qa")
    return isinstance(questions, list) and any(isinstance(one, dict) and "evidence" in one for one in questions)


def _start_of_json(text: str) -> Any:
    """Return the value that JSON text starts with, its open ends closed; None if it is none or more text follows."""
    text = text.lstrip()
    if not text.startswith(("[", "{")):
        return None
    open_ends: list[str] = []
    cut = 0
    for token in _TOKENS.finditer(text):
        sign = token.group()
        if sign.startswith('"'):
            continue
        cut = token.start() if sign == "," else token.end()
        if sign in _CLOSING:
            open_ends.append(_CLOSING[sign])
        elif sign != "," and (not open_ends or open_ends.pop() != sign):
            return None
        if not open_ends:
            break
    if not open_ends and text[cut:].strip():
        return None
    try:
        return json.loads(text[:cut] + "".join(reversed(open_ends)))
    except (ValueError, RecursionError):
        return None


def _is_json_lines(text: str) -> bool:
    """Return whether the first line is an object that can be a message or a document."""
    first = text.lstrip().split("\n", 1)[0]
    if not first.startswith("{"):
        return False
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and any(key in record for key in ("role", "text", "content", "speaker"))
