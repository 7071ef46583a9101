"""PDF."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from engramos.errors import ImportFailedError, MissingExtraError
from engramos.importers._bytes import read_bytes
from engramos.importers._document_file import make_document
from engramos.importers._problems import file_title, printable
from engramos.importers._shape import PDF_START, shape
from engramos.importers.base import Importer
from engramos.messages import Document, Problem

MAX_PDF_BYTES = 1_000_000_000
_END_SEARCH_BYTES = 2048
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What pypdf raises on damaged files besides its own errors."""


@dataclass(frozen=True, slots=True)
class Pdf(Importer):
    """Reads the text of a PDF as one document, pages parted by a form feed.

    Its title and time are those written in the file, or the file's name and no time. A page without text, such as a
    scan, is a problem. NUL characters are left out and halves of surrogate pairs replaced, because they come from
    broken fonts and not from the writer.

    Raises:
        MissingExtraError: while reading, if pypdf is not installed.
    """

    reads: ClassVar[str] = "PDF with text, not encrypted"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file starts as a PDF does."""
        return shape(path, head) == "pdf"

    def read(self, path: Path) -> Iterator[Document | Problem]:
        """Yield a problem for each page that cannot be read, then the document; see `Importer.read`."""
        reader, errors = _open(path)
        pages: list[str] = []
        try:
            num_pages = len(reader.pages)
        except errors as error:
            raise _damaged(path, error) from error
        for number in range(num_pages):
            try:
                text = _cleaned(reader.pages[number].extract_text())
            except errors as error:
                yield Problem(f"page {number + 1}", f"cannot be read: {error}")
                continue
            if text.strip():
                pages.append(text)
            else:
                yield Problem(f"page {number + 1}", "has no text; if it is a scan, run text recognition on it first")
        if not pages:
            raise ImportFailedError(
                str(path), "file", f"none of its {num_pages} pages has text: run text recognition on it first"
            )
        title, at = _read_information(reader, errors)
        yield make_document(path, "\f".join(pages), printable(title, file_title(path)), at=at)

    def count(self, path: Path) -> int | None:
        """Return 1: the document."""
        return 1


def _open(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return pypdf's reader of the file, and the errors that reading from it may raise."""
    data = read_bytes(path, MAX_PDF_BYTES)
    if PDF_START not in data[:1024]:
        raise ImportFailedError(str(path), "byte 0", "is no PDF: choose another file or another format")
    if b"%%EOF" not in data[-_END_SEARCH_BYTES:]:
        raise ImportFailedError(str(path), f"byte {len(data)}", "the PDF is cut off here: copy or download it again")
    try:
        import pypdf
        from pypdf.errors import DependencyError, PyPdfError
    except ModuleNotFoundError as error:
        raise MissingExtraError("pypdf", "pdf") from error
    errors = (PyPdfError, DependencyError, *_DAMAGE)
    try:
        reader = pypdf.PdfReader(BytesIO(data))
        is_encrypted = reader.is_encrypted and not reader.decrypt("")
    except DependencyError as error:
        raise ImportFailedError(str(path), "file", f"is encrypted ({error}): save it without a password") from error
    except errors as error:
        raise _damaged(path, error) from error
    if is_encrypted:
        raise ImportFailedError(str(path), "file", "is encrypted: save it without a password, then import that")
    return reader, errors


def _damaged(path: Path, error: Exception) -> ImportFailedError:
    return ImportFailedError(str(path), "file", f"is a damaged PDF ({error}): copy or download it again")


def _cleaned(text: str) -> str:
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_information(reader: Any, errors: tuple[type[Exception], ...]) -> tuple[str, datetime | None]:
    """Return title and time as the file gives them; many files give none, or a wrong one."""
    title, at = "", None
    try:
        information = reader.metadata
        title = str(information.title or "") if information else ""
        at = information.creation_date if information else None
    except errors:
        return title, None
    if at is not None and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return title, at
