"""Reading benchmark files: one file by its pattern, and fields that must be there."""

import json
from pathlib import Path
from typing import Any, TypeVar

from engramos.errors import ImportFailedError
from engramos.importers._bytes import check_file, decode, read_bytes
from engramos.importers._problems import kind

Value = TypeVar("Value")
MAX_BYTES = 1_000_000_000
_DUE = {str: "a text", int: "a number", list: "a list", dict: "an object", bool: "a truth value"}


def one_file(folder: Path, pattern: str, origin: str) -> Path:
    """Return the one file of a folder that a pattern fits.

    Args:
        folder: where it should lie.
        pattern: of its name, as for `Path.glob`.
        origin: where to get it, for the message.

    Raises:
        ImportFailedError: if there is none, or more than one.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise ImportFailedError(str(folder), pattern, f"is missing: get it from {origin}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ImportFailedError(str(folder), pattern, f"fits {len(found)} files ({names}): leave one there")
    return found[0]


def field(path: Path, where: str, record: Any, key: str, due: type[Value]) -> Value:
    """Return a field of a record: of type `due`, and not blank where it is a text.

    Raises:
        ImportFailedError: if it is not there or is something else.
    """
    if not isinstance(record, dict):
        raise ImportFailedError(str(path), where, f"is {kind(record)}, where an object is due: copy the file again")
    value = record.get(key)
    if not isinstance(value, due) or (due is int and isinstance(value, bool)):
        found = f"has {kind(value)} as {key!r}, where {_DUE[due]} is due" if key in record else f"has no {key!r}"
        raise ImportFailedError(str(path), where, f"{found}: is it the file of another version? copy it again")
    if isinstance(value, str) and not value.strip():
        raise ImportFailedError(str(path), where, f"has an empty {key!r}: copy the file again")
    return value


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ImportFailedError: if it is missing, empty, over 1 GB, or no text.
    """
    check_file(path, MAX_BYTES)
    return decode(path, read_bytes(path, MAX_BYTES))


def load_lines(path: Path) -> list[Any]:
    """Return the values of a file of JSON lines; every line must be whole.

    Raises:
        ImportFailedError: if the file cannot be read, or a line is cut off or no JSON.
    """
    values = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ImportFailedError(
                str(path), f"line {number}", f"is cut off or no JSON ({error}): copy the file again"
            ) from error
    return values
