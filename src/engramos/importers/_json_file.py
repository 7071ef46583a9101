"""A whole JSON file, plain or inside an export's zip."""

import json
from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError
from engramos.importers._bytes import check_file, decode, read_bytes, read_head
from engramos.importers._problems import kind
from engramos.importers._zips import ZIP_STARTS, read_member

MAX_JSON_BYTES = 1_000_000_000


def load_json(path: Path, *, may_be_zip: bool = False) -> Any:
    """Return the value of a JSON file.

    Args:
        path: the file.
        may_be_zip: whether a zip with a `conversations.json` will do.

    Raises:
        ImportFailedError: if the file is missing, empty, over 1 GB, no text, cut off, or no JSON.
    """
    if may_be_zip and read_head(path).startswith(ZIP_STARTS):
        data = read_member(path, MAX_JSON_BYTES)
    else:
        check_file(path, MAX_JSON_BYTES)
        data = read_bytes(path, MAX_JSON_BYTES)
    return parse_json(path, data)


def parse_json(path: Path, data: bytes) -> Any:
    """Return the value that the bytes of a JSON file are.

    Args:
        path: the file, for the message.
        data: all of it, unpacked.

    Raises:
        ImportFailedError: if they are no text, cut off, or no JSON.
    """
    text = decode(path, data)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = "is cut off here" if not text[error.pos :].strip() or "Unterminated" in error.msg else "is no JSON"
        raise ImportFailedError(
            str(path),
            f"line {error.lineno} column {error.colno}",
            f"{cut} ({error.msg}): export or copy the file again",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ImportFailedError(
            str(path), "JSON", f"holds a value no export has ({error}): export the file again"
        ) from error


def records_of(path: Path, value: Any, key: str) -> list[Any]:
    """Return the records of a file's top level: a list of them, one alone, or `{"conversations": [...]}`.

    Args:
        path: the file, for the message.
        value: the JSON value at the top.
        key: the key that a record has.

    Raises:
        ImportFailedError: if the top level is none of these.
    """
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if key in value:
            return [value]
        if isinstance(value.get("conversations"), list):
            return value["conversations"]
    raise ImportFailedError(
        str(path),
        "top level",
        f"is {kind(value)}, where a list of objects with {key!r} is due: choose another file or another format",
    )
