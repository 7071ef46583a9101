"""Files of benchmarks: JSON that may be gzipped, and lists too long to be read at once."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError
from engramos.importers._bytes import check_file
from engramos.importers._json_file import MAX_JSON_BYTES, load_json, parse_json

CHUNK = 1 << 23
"""Characters read at a time of a long list."""
MAX_ITEM = 1 << 27
"""Characters that one item of a long list may have."""
_AGAIN = "copy the file again"


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, gzipped where its name ends in `.gz`.

    Raises:
        ImportFailedError: if the file is missing, cut off, over 1 GB, no gzip, or no JSON.
    """
    if path.suffix != ".gz":
        return load_json(path)
    check_file(path, MAX_JSON_BYTES)
    try:
        with gzip.open(path) as stream:
            data = stream.read(MAX_JSON_BYTES + 1)
    except EOFError as error:
        raise ImportFailedError(str(path), "gzip", f"is cut off ({error}): {_AGAIN}") from error
    except (OSError, zlib.error) as error:
        raise ImportFailedError(str(path), "gzip", f"cannot be unpacked ({error}): {_AGAIN}") from error
    if len(data) > MAX_JSON_BYTES:
        raise ImportFailedError(str(path), "gzip", f"unpacks to more than {MAX_JSON_BYTES} bytes: this is no benchmark")
    return parse_json(path, data)


def read_items(path: Path, chunk: int = CHUNK) -> Iterator[Any]:
    """Yield the items of a JSON file that is one list of objects, reading it piece by piece, however long it is.

    Args:
        path: the file.
        chunk: characters read at a time, 1 or more.

    Raises:
        ImportFailedError: while reading, if the file is missing, cut off, no list, or no JSON.
    """
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from _Items(path, stream, chunk).read()
    except UnicodeDecodeError as error:
        raise ImportFailedError(str(path), "file", f"is no UTF-8 text ({error.reason}): {_AGAIN}") from error
    except OSError as error:
        raise ImportFailedError(str(path), "file", f"cannot be read: {error}; check its rights") from error


class _Items:
    """The part of a file that is read and not yet parsed."""

    def __init__(self, path: Path, stream: Any, chunk: int) -> None:
        self.path, self.stream, self.chunk = path, stream, chunk
        self.text = ""
        self.at = self.num = 0

    def read(self) -> Iterator[Any]:
        if self._next() != "[":
            raise ImportFailedError(str(self.path), "top level", f"is no JSON list: {_AGAIN}, or take another version")
        self.at += 1
        while self._next() != "]":
            yield self._value()
            self.num += 1
            after = self._next()
            if after == ",":
                self.at += 1
            elif after != "]":
                raise self._error("has neither a comma nor the list's end behind it")

    def _next(self) -> str:
        """Return the next character that is no space; empty at the end of the file."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _value(self) -> Any:
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.text, self.at)
                return value
            except (ValueError, RecursionError) as error:
                if len(self.text) - self.at > MAX_ITEM or isinstance(error, RecursionError) or not self._more():
                    raise self._error("is no JSON, or is cut off") from error

    def _more(self) -> bool:
        """Read on; as much again as is left unparsed, so that a long item is not parsed over and over."""
        left = self.text[self.at :]
        read = self.stream.read(max(self.chunk, len(left)))
        self.text, self.at = left + read, 0
        return bool(read)

    def _error(self, what: str) -> ImportFailedError:
        return ImportFailedError(str(self.path), f"items[{self.num}]", f"{what}: {_AGAIN}")


_DECODER = json.JSONDecoder()
