"""Plain text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engramos.importers._document_file import make_document, read_document_text
from engramos.importers._problems import file_title
from engramos.importers._shape import shape
from engramos.importers.base import Importer
from engramos.messages import Document


@dataclass(frozen=True, slots=True)
class Text(Importer):
    """Reads a file of text as one document, every character kept; its title is the file's name."""

    reads: ClassVar[str] = "plain text in UTF-8, or in UTF-16 with a byte order mark"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether it is text that no other format claims, with a text's suffix such as .txt, or none."""
        return shape(path, head) == "text"

    def read(self, path: Path) -> Iterator[Document]:
        """Yield the document; see `Importer.read`."""
        yield make_document(path, read_document_text(path), file_title(path))

    def count(self, path: Path) -> int | None:
        """Return 1."""
        return 1
