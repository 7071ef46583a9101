"""From a file to bytes and from bytes to text, with errors that say where."""

import codecs
from pathlib import Path

from engramos.errors import ImportFailedError

HEAD_BYTES = 65_536
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_WRITING_CONTROLS = frozenset("\t\n\r\f\v\b\x1b")


def check_file(path: Path, limit_bytes: int | None = None) -> None:
    """Check that `path` is a file that is not empty and not longer than `limit_bytes`.

    Raises:
        ImportFailedError: if it is not.
    """
    try:
        if not path.exists():
            raise ImportFailedError(str(path), "file", "does not exist: check the path")
        if not path.is_file():
            raise ImportFailedError(str(path), "file", "is no file: name a file, not a folder or a device")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise ImportFailedError(str(path), "file", f"cannot be read: {error}; check the path and its rights") from error
    if size == 0:
        raise ImportFailedError(str(path), "byte 0", "the file is empty: export or copy it again")
    if limit_bytes is not None and size > limit_bytes:
        raise ImportFailedError(
            str(path), "file", f"has {size} bytes and at most {limit_bytes} are read: split it into smaller files"
        )


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """Return all bytes of a file.

    Raises:
        ImportFailedError: if it is missing, empty, too long or unreadable.
    """
    check_file(path, limit_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportFailedError(str(path), "file", f"cannot be read: {error}; check its rights") from error


def read_head(path: Path) -> bytes:
    """Return the first 65,536 bytes of a file.

    Raises:
        ImportFailedError: if it is missing, empty or unreadable.
    """
    check_file(path)
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise ImportFailedError(str(path), "file", f"cannot be read: {error}; check its rights") from error


def encoding_of(data: bytes) -> tuple[str, int]:
    """Return the encoding that a byte order mark names, UTF-8 without one, and the mark's length in bytes."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8", len(codecs.BOM_UTF8)
    return (_UTF16[data[:2]], 2) if data[:2] in _UTF16 else ("utf-8", 0)


def decode(path: Path, data: bytes) -> str:
    """Return the text of a whole file: UTF-8, or UTF-16 if it starts with that byte order mark.

    Raises:
        ImportFailedError: with the offset of the first byte that is no text.
    """
    encoding, mark = encoding_of(data)
    try:
        text = data[mark:].decode(encoding)
    except UnicodeDecodeError as error:
        raise ImportFailedError(
            str(path), f"byte {mark + error.start}", f"is not {encoding.upper()}: save the file as UTF-8 text"
        ) from error
    if (found := text.find("\0")) >= 0:
        offset = mark + len(text[:found].encode(encoding))
        raise ImportFailedError(
            str(path), f"byte {offset}", "is NUL: a binary file, or UTF-16 without its mark; save it as UTF-8 text"
        )
    if is_binary(text):
        raise ImportFailedError(str(path), "byte 0", "is mostly control characters: a binary file; import text")
    return text


def decode_head(head: bytes) -> str | None:
    """Return the text of a file's start, bad bytes replaced; None if it is binary."""
    encoding, mark = encoding_of(head)
    text = head[mark:].decode(encoding, errors="replace")
    return None if "\0" in text or is_binary(text) else text


def is_binary(text: str) -> bool:
    """Return whether more than a tenth of the start of `text` are control characters that no text has."""
    start = text[:4096]
    strange = sum(1 for letter in start if letter < " " and letter not in _WRITING_CONTROLS)
    return strange * 10 > len(start)
