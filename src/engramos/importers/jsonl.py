"""JSON lines: a message or a document a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import ImportFailedError, InvalidInputError, QuotaExceededError
from engramos.importers._bytes import check_file, decode, encoding_of, read_bytes, read_head
from engramos.importers._chat import read_message, read_name
from engramos.importers._problems import file_title, problem
from engramos.importers._shape import shape
from engramos.importers._times import first_time
from engramos.importers.base import Importer, Record
from engramos.messages import Document

MAX_LINE_BYTES = 128_000_000
_MAX_UTF16_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Jsonl(Importer):
    """Reads one JSON object a line, without holding the file in memory; blank lines are skipped.

    An object with `role` or `speaker` is a message, with the keys of `openai_messages` (`text` will do for `content`).
    Any other object with `text` or `content` is a document; its title is `title`, or the file's name and the line. A
    last line that is cut off is a problem, because all lines before it are whole.
    """

    reads: ClassVar[str] = "JSON lines, a message or a document with text and title a line"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first line is an object of its own, or the suffix is .jsonl or .ndjson."""
        return shape(path, head) == "jsonl"

    def read(self, path: Path) -> Iterator[Record]:
        """Yield what each line holds; see `Importer.read`."""
        title = file_title(path)
        for number, line in _lines(path):
            if line.strip():
                yield from _read_line(line, number, title)

    def count(self, path: Path) -> int | None:
        """Return the number of lines that are not blank."""
        return sum(1 for _, line in _lines(path) if line.strip())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines as UTF-8, with their numbers from 1; a line that is too long is cut."""
    head = read_head(path)
    encoding, mark = encoding_of(head)
    if encoding != "utf-8":
        text = decode(path, read_bytes(path, _MAX_UTF16_BYTES))
        yield from enumerate((line.encode("utf-8", "surrogatepass") for line in text.split("\n")), 1)
        return
    check_file(path)
    try:
        with path.open("rb") as stream:
            stream.seek(mark)
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                yield number, line
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise ImportFailedError(str(path), "file", f"cannot be read: {error}; check its rights") from error


def _read_line(line: bytes, number: int, title: str) -> Iterator[Record]:
    position = f"line {number}"
    start = line[:400].decode("utf-8", "replace")
    if len(line) > MAX_LINE_BYTES:
        yield problem(position, f"is longer than {MAX_LINE_BYTES} bytes: split it", start)
        return
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        yield problem(position, f"is not UTF-8 at byte {error.start} of the line", start)
        return
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"\n") else "; the file is cut off here"
        yield problem(position, f"is no JSON at column {error.colno} ({error.msg}){cut}", start)
        return
    except (ValueError, RecursionError) as error:
        yield problem(position, f"holds a value that cannot be read ({error})", start)
        return
    if isinstance(record, dict) and not record.get("role") and not record.get("speaker"):
        yield _read_document(record, position, f"{title}:{number}")
    else:
        yield from read_message(record, position)


def _read_document(record: dict[str, Any], position: str, default_title: str) -> Record:
    try:
        text = record.get("text", record.get("content"))
        if text is None:
            raise InvalidInputError("has neither 'role' nor 'text': give {role, content} or {title, text}")
        title = read_name(record, ("title",)) or default_title
        document_id = read_name(record, ("id", "document_id"))
        is_markdown = record.get("is_markdown") is True
        return Document(text, title, at=first_time(record), document_id=document_id, is_markdown=is_markdown)
    except (InvalidInputError, QuotaExceededError) as error:
        return problem(position, error, record)
