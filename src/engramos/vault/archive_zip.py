"""Strict and bounded reading of a zip file: nothing in it is believed before it is checked.

Python's zipfile reads the whole directory of members before a caller can set a limit, believes sizes, and differs
between versions in what it accepts; see docs/decisions/0005-archive-format.md.
"""

import hashlib
import io
import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass, fields
from typing import BinaryIO

from engramos.errors import ArchiveError, ConfigError, translate

STORED, DEFLATED = 0, 8
BLOCK_BYTES = 1 << 16
MAX_NAME_BYTES = 128
MAX_EXTRA_BYTES = 128
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED_FLAGS = 0x2041
_ALLOWED_FLAGS = 0x0806  # names in UTF-8, and how hard the writer tried to compress


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may ask of the machine. All are whole numbers above zero."""

    max_archive_bytes: int = 64 * 2**30
    """Bytes of the file."""
    max_members: int = 100_000
    """Members of the zip, the manifest included."""
    max_ratio: int = 200
    """Bytes unpacked for one byte packed, in each member."""
    max_manifest_bytes: int = 32 * 2**20
    """Bytes of the manifest."""
    max_stream_bytes: int = 64 * 2**30
    """Bytes of one stream, unpacked."""
    max_line_bytes: int = 64 * 2**20
    """Bytes of one record."""
    max_line_values: int = 1_000_000
    """Values and containers in one record, or in the manifest."""
    max_blob_bytes: int = 64 * 2**30
    """Bytes of one blob."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{field.name} is {value!r}: give a whole number above zero")


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the zip's directory declares it; `stop` is the last place where its packed bytes may end."""

    name: str
    method: int
    crc: int
    packed_bytes: int
    num_bytes: int
    offset: int
    stop: int


def refusal(path: object, problem: str, next_step: str = "get an undamaged copy, or dump it again") -> ArchiveError:
    """Return the error that refuses an archive."""
    return ArchiveError(f"archive {path}: {problem}; {next_step}")


def read_directory(file: BinaryIO, path: object, limits: Limits) -> list[Entry]:
    """Return the members of a zip file, in the order of the file, refusing every oddity.

    Accepted is what an ordinary writer makes on one disk: members one after the other from the first byte, stored or
    deflated, plain files with ASCII names, no comments, no encryption, no bytes before, between lying offsets, or
    after. Memory: one small record a member, at most `limits.max_members` of them.

    Raises:
        ArchiveError: with what is wrong.
    """
    num_bytes = file.seek(0, os.SEEK_END)
    if num_bytes > limits.max_archive_bytes:
        raise refusal(path, f"it has {num_bytes} bytes and may have {limits.max_archive_bytes}", "raise the limit")
    count, size, offset = _find_directory(file, path, num_bytes)
    if count > limits.max_members:
        raise refusal(path, f"it has {count} members and may have {limits.max_members}")
    file.seek(offset)
    entries: list[Entry] = []
    left = size
    for _ in range(count):
        entry, used = _read_entry(file, path, limits, offset)
        left -= used
        if left < 0:
            raise refusal(path, "its directory is longer than it says")
        entries.append(entry)
    if left:
        raise refusal(path, "its directory holds more members than it says")
    return _placed(entries, path, offset)


def _find_directory(file: BinaryIO, path: object, num_bytes: int) -> tuple[int, int, int]:
    """Return the number of members, the bytes of the directory and where it begins."""
    file.seek(0)
    if file.read(2) != b"PK":
        raise refusal(path, "it is no zip file", "give a file that 'engramos dump' wrote, or use 'engramos import'")
    end = num_bytes - _END.size
    found = _unpack(_END, file, end) if end >= 0 else None
    if found is None or found[0] != b"PK\5\6" or found[7]:
        raise refusal(path, "it is truncated, or has bytes or a comment after its end")
    _, disk, first_disk, here, count, size, offset, _ = found
    if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
        end -= _LOCATOR.size + _END64.size
        found = _unpack(_END64, file, end) if end >= 0 else None
        locator = _unpack(_LOCATOR, file, end + _END64.size) if found else None
        if not found or found[0] != b"PK\6\6" or found[1] != 44 or locator != (b"PK\6\7", 0, end, 1):
            raise refusal(path, "its end record for large files is missing or wrong")
        disk, first_disk, here, count, size, offset = found[4:]
    if disk or first_disk or here != count:
        raise refusal(path, "it is one part of a split zip file")
    if offset + size != end:
        raise refusal(path, "its directory is not where it says, or other bytes were put before or after it")
    return count, size, offset


def _unpack(layout: struct.Struct, file: BinaryIO, position: int) -> tuple | None:
    file.seek(position)
    data = file.read(layout.size)
    return layout.unpack(data) if len(data) == layout.size else None


def _read_entry(file: BinaryIO, path: object, limits: Limits, end: int) -> tuple[Entry, int]:
    data = file.read(_CENTRAL.size)
    if len(data) < _CENTRAL.size or data[:4] != b"PK\1\2":
        raise refusal(path, "its directory is damaged")
    (_, _, _, flags, method, _, _, crc, packed, unpacked, num_name, num_extra, num_comment, disk, _, attributes, at) = (
        _CENTRAL.unpack(data)
    )
    if num_name > MAX_NAME_BYTES or num_extra > MAX_EXTRA_BYTES or num_comment or disk:
        raise refusal(path, "a member has an over-long name, too many extra bytes, a comment, or is on another disk")
    name = _checked_name(file.read(num_name), path)
    extra = file.read(num_extra)
    _check_kind(name, flags, method, attributes, path)
    unpacked, packed, at = _wide(extra, (unpacked, packed, at), f"member {name!r}", path)
    if (method == STORED and packed != unpacked) or unpacked > limits.max_ratio * packed:
        raise refusal(
            path, f"member {name!r} says to unpack {packed} bytes to {unpacked}: over {limits.max_ratio} to 1"
        )
    return Entry(name, method, crc, packed, unpacked, at, end), _CENTRAL.size + num_name + num_extra


def _checked_name(raw: bytes, path: object) -> str:
    name = raw.decode("utf-8", "replace")
    problems = {
        "is empty": not name,
        "holds a NUL": "\0" in name,
        "holds a backslash": "\\" in name,
        "is absolute": name.startswith("/"),
        "names a drive": re.match(r"[A-Za-z]:", name) is not None,
        "leaves its folder": ".." in name.split("/"),
        "is not plain ASCII": not (name.isascii() and name.isprintable()),
    }
    for problem, is_so in problems.items():
        if is_so:
            raise refusal(path, f"the member name {name!r} {problem}", "it is hostile: do not use it")
    return name


def _check_kind(name: str, flags: int, method: int, attributes: int, path: object) -> None:
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in (0, stat.S_IFREG) or attributes & 0x10 or name.endswith("/"):
        raise refusal(
            path, f"member {name!r} is a link, a device or a folder, not a file", "it is hostile: do not use it"
        )
    if flags & _ENCRYPTED_FLAGS:
        raise refusal(path, f"member {name!r} is encrypted", "unlock it with the tool that locked it, then load that")
    if flags & ~_ALLOWED_FLAGS or method not in (STORED, DEFLATED):
        raise refusal(path, f"member {name!r} is packed in an unknown way (method {method}, flags {flags:#x})")


def _wide(extra: bytes, narrow: tuple[int, ...], what: str, path: object) -> list[int]:
    """Return the three numbers, each that is all ones in 32 bits taken from the extra field for large files."""
    position, field = 0, b""
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if position + 4 + size > len(extra):
            break
        if kind == 1:
            field += extra[position + 4 : position + 4 + size]
        position += 4 + size
    values = []
    for value in narrow:
        if value == 0xFFFFFFFF:
            if len(field) < 8:
                raise refusal(path, f"{what} lacks its large sizes")
            value, field = int.from_bytes(field[:8], "little"), field[8:]
        values.append(value)
    return values


def _placed(entries: list[Entry], path: object, end: int) -> list[Entry]:
    """Return the entries with their `stop`, refusing members that share bytes."""
    placed = []
    for entry, stop in zip(entries, [*(entry.offset for entry in entries[1:]), end], strict=True):
        if not placed and entry.offset:
            raise refusal(path, "other bytes stand before its first member")
        if entry.offset + _LOCAL.size + len(entry.name) + entry.packed_bytes > stop:
            raise refusal(path, f"member {entry.name!r} overlaps another or leaves the file")
        placed.append(Entry(*(getattr(entry, field.name) for field in fields(entry)[:-1]), stop))
    return placed


class MemberFile(io.RawIOBase):
    """A member's bytes, unpacked and counted as they are read.

    The last block is handed out only after the number of bytes, the packed bytes, the CRC and the SHA-256 agree with
    what was declared, so that who reads to the end has verified bytes. One thread at a time may read an archive.
    """

    def __init__(self, file: BinaryIO, path: object, entry: Entry, sha256: str | None = None) -> None:
        super().__init__()
        self._file, self._path, self._entry, self._expected = file, path, entry, sha256
        self._position = self._find_data()
        self._end = self._position + entry.packed_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
        self._pending = b""
        self._num_bytes, self._crc, self._sha256 = 0, 0, hashlib.sha256()
        self._is_done = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:
        """Fill the buffer; see `io.RawIOBase.readinto`.

        Raises:
            ArchiveError: if the member is not what was declared.
        """
        view = memoryview(buffer).cast("B")
        if self._is_done or not len(view):
            return 0
        data = self._unpack(len(view))
        self._num_bytes += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._sha256.update(data)
        if self._num_bytes > self._entry.num_bytes:
            raise self._refusal(f"unpacks to more than the {self._entry.num_bytes} bytes it says")
        if not data or self._num_bytes == self._entry.num_bytes:
            self._finish()
        view[: len(data)] = data
        return len(data)

    def _find_data(self) -> int:
        """Return where the packed bytes begin, after checking the member's own header against the directory."""
        entry = self._entry
        found = _unpack(_LOCAL, self._file, entry.offset)
        name = entry.name.encode()
        if found is None or found[0] != b"PK\3\4" or self._file.read(len(name)) != name or found[9] != len(name):
            raise self._refusal("is not where the directory says")
        _, _, flags, method, _, _, crc, packed, unpacked, _, num_extra = found
        same = crc == entry.crc and packed in (entry.packed_bytes, 0xFFFFFFFF)
        if (
            flags & ~_ALLOWED_FLAGS
            or method != entry.method
            or not same
            or unpacked not in (entry.num_bytes, 0xFFFFFFFF)
        ):
            raise self._refusal("differs from what the directory says of it")
        begin = entry.offset + _LOCAL.size + len(name) + num_extra
        if begin + entry.packed_bytes > entry.stop:
            raise self._refusal("overlaps another or leaves the file")
        return begin

    def _unpack(self, num_bytes: int) -> bytes:
        if self._inflate is None:
            return self._packed(num_bytes)
        while not self._inflate.eof:
            self._pending = self._pending or self._packed(BLOCK_BYTES)
            is_last = not self._pending
            with translate({zlib.error: ArchiveError}, f"unpacking {self._entry.name} of archive {self._path}"):
                data = self._inflate.decompress(self._pending, num_bytes)
            self._pending = self._inflate.unconsumed_tail
            if data or is_last:
                return data
        return b""

    def _packed(self, num_bytes: int) -> bytes:
        num_bytes = min(num_bytes, self._end - self._position)
        self._file.seek(self._position)
        data = self._file.read(num_bytes)
        if len(data) != num_bytes:
            raise self._refusal("ends too early")
        self._position += num_bytes
        return data

    def _finish(self) -> None:
        if self._inflate is not None and self._unpack(1):
            raise self._refusal(f"unpacks to more than the {self._entry.num_bytes} bytes it says")
        if self._num_bytes != self._entry.num_bytes:
            raise self._refusal(f"unpacks to {self._num_bytes} bytes and says {self._entry.num_bytes}")
        is_rest = self._inflate is not None and (not self._inflate.eof or self._pending or self._inflate.unused_data)
        if is_rest or self._position != self._end:
            raise self._refusal("has packed bytes that belong to nothing")
        found = self._sha256.hexdigest()
        if self._crc != self._entry.crc or self._expected not in (None, found):
            raise self._refusal(f"has a wrong checksum (found {found[:12]})")
        self._is_done = True

    def _refusal(self, problem: str) -> ArchiveError:
        return refusal(self._path, f"member {self._entry.name!r} {problem}")
