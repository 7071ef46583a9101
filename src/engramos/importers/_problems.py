"""Problems with a record, and words for what stands in its place."""

import reprlib
from pathlib import Path
from typing import Any

from engramos.messages import Problem
from engramos.scope import MAX_NAME_LENGTH

_EXCERPT_LENGTH = 200
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = _EXCERPT_LENGTH


def problem(position: str, error: Exception | str, value: Any) -> Problem:
    """Return the problem with the record `value`; at most 200 characters of it are kept."""
    shown = value if isinstance(value, str) else _short.repr(value)
    text = shown[:_EXCERPT_LENGTH].encode("utf-8", "replace").decode()
    return Problem(position, str(error), text)


def kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def printable(text: str, default: str) -> str:
    """Return `text` as a name: characters that do not print become spaces, at most 256 stay."""
    name = "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_NAME_LENGTH].strip()
    return name or default


def file_title(path: Path) -> str:
    """Return a document's title from its file's name."""
    return printable(path.stem, "untitled")
