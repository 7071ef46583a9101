"""Markdown."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engramos.errors import InvalidInputError
from engramos.importers._document_file import make_document, read_document_text
from engramos.importers._problems import file_title, printable, problem
from engramos.importers._shape import shape
from engramos.importers._times import read_at
from engramos.importers.base import Importer
from engramos.messages import Document, Problem

_FRONT = re.compile(r"---[ \t]*\r?\n(?P<lines>(?:.*\n){0,100}?)(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")
_FIELD = re.compile(r"(?P<key>title|date)[ \t]*:(?P<value>.*)", re.IGNORECASE)
_HEADING = re.compile(r"^#[ \t](?P<title>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Markdown(Importer):
    """Reads a file of Markdown as one document.

    Its title is the front matter's `title`, or the first heading of level 1, or the file's name; its time is the front
    matter's `date`, in UTC where no time zone is named. Other lines of the front matter stay in the text, at its start.
    A date that cannot be read is a problem, and the document has no time.
    """

    reads: ClassVar[str] = "Markdown (.md) with or without front matter"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether it is text that no other format claims, with the suffix .md or .markdown."""
        return shape(path, head) == "markdown"

    def read(self, path: Path) -> Iterator[Document | Problem]:
        """Yield the document, after the problem with its date if there is one; see `Importer.read`."""
        fields, text = _split(read_document_text(path))
        at = None
        try:
            at = read_at(fields.get("date"))
        except InvalidInputError as error:
            yield problem("front matter, date", error, fields["date"])
        heading = _HEADING.search(text)
        title = fields.get("title") or (heading["title"].strip().rstrip("#").strip() if heading else "")
        yield make_document(path, text, printable(title, file_title(path)), at=at, is_markdown=True)

    def count(self, path: Path) -> int | None:
        """Return 1: the document."""
        return 1


def _split(text: str) -> tuple[dict[str, str], str]:
    """Return title and date of the front matter, and the text without these two lines and the fences."""
    front = _FRONT.match(text)
    if not front:
        return {}, text
    fields: dict[str, str] = {}
    kept = []
    for line in front["lines"].splitlines():
        field = _FIELD.fullmatch(line)
        if field and field["key"].lower() not in fields:
            fields[field["key"].lower()] = _unquoted(field["value"].strip())
        else:
            kept.append(line)
    rest = "\n".join([*kept, text[front.end() :]])
    return (fields, rest) if fields and rest.strip() else (fields, text)


def _unquoted(value: str) -> str:
    is_quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value
