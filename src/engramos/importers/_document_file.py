"""A file that is one document."""

from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError, InvalidInputError, QuotaExceededError
from engramos.importers._bytes import decode, read_bytes
from engramos.importers._problems import printable
from engramos.messages import MAX_DOCUMENT_BYTES, Document

_ENCODED_GROWTH = 2


def read_document_text(path: Path) -> str:
    """Return the text of a file that becomes one document.

    Raises:
        ImportFailedError: if the file is missing, empty, blank, too long, or no text.
    """
    text = decode(path, read_bytes(path, _ENCODED_GROWTH * MAX_DOCUMENT_BYTES))
    if not text.strip():
        raise ImportFailedError(str(path), "byte 0", "holds nothing but white space: choose a file with text")
    return text


def make_document(path: Path, text: str, title: str, **fields: Any) -> Document:
    """Return the document that a file is; the file's name is its id.

    Raises:
        ImportFailedError: if it cannot be stored.
    """
    try:
        return Document(text, title, document_id=printable(path.name, "untitled"), **fields)
    except (InvalidInputError, QuotaExceededError) as error:
        raise ImportFailedError(str(path), "file", str(error)) from error
