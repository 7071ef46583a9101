"""One member of an export's zip, read in memory under strict limits; nothing is unpacked to disk."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from engramos.errors import ImportFailedError
from engramos.importers._bytes import HEAD_BYTES, check_file

MAX_MEMBER_BYTES = 2_000_000_000
MAX_RATIO = 200
MAX_DIRECTORY_BYTES = 16_000_000
MEMBER = "conversations.json"
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_END_RECORD = b"PK\x05\x06"
_END_SEARCH_BYTES = 65_557
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    NotImplementedError,
)


def read_member(path: Path, limit_bytes: int) -> bytes:
    """Return the `conversations.json` of a zip.

    Raises:
        ImportFailedError: if the zip is damaged, hostile or encrypted, or has not exactly one such member.
    """
    with _open_member(path) as (stream, info):
        if info.file_size > limit_bytes:
            raise ImportFailedError(
                str(path), MEMBER, f"has {info.file_size} bytes and at most {limit_bytes} are read: split it"
            )
        return stream.read()


def read_member_head(path: Path) -> bytes:
    """Return the first 65,536 bytes of a zip's `conversations.json`.

    Raises:
        ImportFailedError: as `read_member`.
    """
    with _open_member(path) as (stream, _):
        return stream.read(HEAD_BYTES)


@contextmanager
def _open_member(path: Path) -> Iterator[tuple[IO[bytes], zipfile.ZipInfo]]:
    check_file(path)
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            info = _find_member(path, archive)
            with archive.open(info) as stream:
                yield stream, info
    except _ZIP_ERRORS as error:
        raise ImportFailedError(
            str(path),
            "zip",
            f"is damaged or no zip ({error}): download the export again, or unpack it and import its {MEMBER}",
        ) from error


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of members alone would fill the memory, before `zipfile` reads that list."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _END_SEARCH_BYTES))
        tail = stream.read()
    found = tail.rfind(_END_RECORD)
    if found < 0:
        raise zipfile.BadZipFile("its end is missing: the file is cut off")
    (size,) = struct.unpack_from("<I", tail, found + 12)
    if size > MAX_DIRECTORY_BYTES:
        raise ImportFailedError(
            str(path),
            "zip",
            f"has a list of members over {MAX_DIRECTORY_BYTES} bytes: unpack it and import its {MEMBER}",
        )


def _find_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if PurePosixPath(info.filename).name == MEMBER]
    if len(found) != 1:
        raise ImportFailedError(
            str(path), "zip", f"holds {len(found)} members named {MEMBER} and an export has one: choose another file"
        )
    info = found[0]
    if info.flag_bits & 1:
        raise ImportFailedError(str(path), MEMBER, "is encrypted: unpack it and import the file inside")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ImportFailedError(str(path), MEMBER, "is packed in a way no export uses: unpack it and import the file")
    if info.file_size > MAX_MEMBER_BYTES:
        raise ImportFailedError(
            str(path), MEMBER, f"declares {info.file_size} bytes and at most {MAX_MEMBER_BYTES} are read: split it"
        )
    packed = min(info.compress_size, path.stat().st_size)
    if info.file_size > MAX_RATIO * packed:
        raise ImportFailedError(
            str(path), MEMBER, f"grows more than {MAX_RATIO} times when unpacked: a zip bomb is not imported"
        )
    return info
