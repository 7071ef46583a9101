"""Reading an archive: the one file that `dump` writes and `load` reads.

The container knows nothing of the database: it holds streams of JSON records, blobs, and a manifest that lists both
with their sizes and checksums. See docs/decisions/0005-archive-format.md.
"""

import io
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Self

from engramos.errors import ArchiveError
from engramos.vault.archive_zip import Entry, Limits, MemberFile, read_directory, refusal
from engramos.vault.bounded_json import decode_object
from engramos.vault.durable import disk_errors

FORMAT = "engramos-archive"
FORMAT_VERSION = 1
SUFFIX = ".engramos"
DEFAULT_LIMITS = Limits()
MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 20
STREAM_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBER = re.compile(r"(?:[a-z][a-z0-9_]{0,63}\.jsonl|blobs/[0-9a-f]{64}\.safetensors|manifest\.json)")
_KEYS = {"format", "format_version", "created_at", "streams", "blobs", "info"}


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of an archive as its manifest declares it."""

    num_records: int
    num_bytes: int
    sha256: str


class ArchiveReader:
    """An archive, open for reading; a context manager, for one thread.

    Opening checks the names, kinds and sizes of all members, and the manifest against them, without unpacking
    anything but the manifest. **Call `check` before acting on the first record**: `records` verifies a stream's
    checksum too, but can do so only at its end. Nothing is ever written, and no path comes from the archive.

    Args:
        path: the archive.
        limits: how much it may ask of the machine.

    Raises:
        ArchiveError: if it cannot be opened, is damaged, hostile, of another format, or from a newer engramos.
    """

    def __init__(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.path, self._limits = Path(path), limits
        with disk_errors(ArchiveError, f"opening archive {self.path}"):
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise refusal(self.path, "it is not a file", "give a file that 'engramos dump' wrote")
            self._file = open(self.path, "rb")  # noqa: SIM115 - see close
        with ExitStack() as undo, disk_errors(ArchiveError, f"reading archive {self.path}"):
            undo.callback(self._file.close)
            self._open()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def info(self) -> dict:
        """What the writer noted of the archive: any JSON object."""
        return self._info

    @property
    def created_at(self) -> datetime:
        """When the archive was written, UTC."""
        return self._created_at

    @property
    def streams(self) -> Mapping[str, Stream]:
        """The streams by name, in the order in which they were first written."""
        return MappingProxyType(self._streams)

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Yield each blob's digest and number of bytes."""
        yield from self._blobs.items()

    def records(self, stream: str) -> Iterator[dict]:
        """Yield the records of a stream, one line in memory at a time.

        Raises:
            ArchiveError: if there is no such stream; at a line that is no JSON object, with its number; before the
                last records if the checksum, or after them if their number, is not the manifest's.
        """
        if stream not in self._streams:
            names = ", ".join(self._streams) or "none"
            raise refusal(self.path, f"it has no stream {stream!r}", f"it has: {names}")
        declared, num_lines, most = self._streams[stream], 0, self._limits.max_line_bytes
        with disk_errors(ArchiveError, f"reading archive {self.path}"), self._member(stream) as file:
            while line := file.readline(most + 2):
                num_lines += 1
                what = f"{stream}.jsonl line {num_lines} of archive {self.path}"
                if len(line.rstrip(b"\n")) > most or not line.endswith(b"\n"):
                    raise refusal(self.path, f"{stream}.jsonl line {num_lines} has no end within {most} bytes")
                yield decode_object(line, what, max_values=self._limits.max_line_values)
        if num_lines != declared.num_records:
            raise refusal(self.path, f"stream {stream!r} has {num_lines} records and says {declared.num_records}")

    def open_blob(self, digest: str) -> BinaryIO:
        """Return a blob as a stream; its last block comes only if all its bytes have the digest.

        Raises:
            ArchiveError: if there is no such blob; while reading, if it is not what was declared.
        """
        if digest not in self._blobs:
            raise refusal(self.path, f"it has no blob {digest!r}", "see blobs() for those it has")
        entry = self._entries[f"blobs/{digest}.safetensors"]
        return io.BufferedReader(MemberFile(self._file, self.path, entry, digest), BLOCK_BYTES)

    def check(self) -> None:
        """Read everything once and verify all checksums, in constant memory; records are not parsed.

        Raises:
            ArchiveError: at the first member that is not what was declared.
        """
        with disk_errors(ArchiveError, f"reading archive {self.path}"):
            for stream in self._streams:
                with self._member(stream) as file:
                    _read_through(file)
            for digest in self._blobs:
                with self.open_blob(digest) as file:
                    _read_through(file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _member(self, stream: str) -> io.BufferedReader:
        raw = MemberFile(self._file, self.path, self._entries[f"{stream}.jsonl"], self._streams[stream].sha256)
        return io.BufferedReader(raw, BLOCK_BYTES)

    def _open(self) -> None:
        entries = read_directory(self._file, self.path, self._limits)
        self._entries = self._named(entries)
        if not entries or entries[0].name != MANIFEST:
            raise refusal(self.path, f"its first member is not {MANIFEST}", "give a file that 'engramos dump' wrote")
        if entries[0].num_bytes > self._limits.max_manifest_bytes:
            raise refusal(self.path, f"its manifest has {entries[0].num_bytes} bytes: over the limit")
        with io.BufferedReader(MemberFile(self._file, self.path, entries[0])) as file:
            text = file.read()
        what = f"the manifest of archive {self.path}"
        manifest = decode_object(text, what, max_values=self._limits.max_line_values, has_unique_keys=True)
        self._read_manifest(manifest)
        self._check_members()

    def _named(self, entries: list[Entry]) -> dict[str, Entry]:
        named: dict[str, Entry] = {}
        folded: set[str] = set()
        for entry in entries:
            if entry.name in named:
                raise refusal(self.path, f"member {entry.name!r} stands in it twice", "it is hostile: do not use it")
            if entry.name.casefold() in folded:
                raise refusal(self.path, f"member {entry.name!r} differs from another only in case")
            named[entry.name] = entry
            folded.add(entry.name.casefold())
        for name in named:
            if not _MEMBER.fullmatch(name):
                raise refusal(self.path, f"it holds the unknown member {name!r}")
        return named

    def _read_manifest(self, manifest: dict) -> None:
        if manifest.get("format") != FORMAT:
            raise refusal(self.path, f"it is not of format {FORMAT}", "use 'engramos import' for files of others")
        version = manifest.get("format_version")
        if type(version) is int and version > FORMAT_VERSION:
            newer = f"it was written by a newer engramos (format {version}, this one reads {FORMAT_VERSION})"
            raise refusal(self.path, newer, "upgrade: pip install --upgrade engramos")
        if version != FORMAT_VERSION or type(version) is not int or manifest.keys() != _KEYS:
            raise refusal(self.path, "its manifest does not have the keys of its format version")
        self._created_at = self._time(manifest["created_at"])
        self._info = self._object(manifest, "info")
        self._streams = {name: self._stream(name, fields) for name, fields in self._object(manifest, "streams").items()}
        self._blobs = self._object(manifest, "blobs")
        for digest, num_bytes in self._blobs.items():
            if not DIGEST.fullmatch(digest) or not _is_count(num_bytes):
                raise refusal(self.path, f"its manifest lists the blob {digest[:80]!r} without digest or size")

    def _object(self, manifest: dict, key: str) -> dict:
        if not isinstance(manifest[key], dict):
            raise refusal(self.path, f"{key!r} of its manifest is no object")
        return manifest[key]

    def _time(self, text: object) -> datetime:
        try:
            at = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise refusal(self.path, "'created_at' of its manifest is no time with a zone")
        return at

    def _stream(self, name: str, fields: object) -> Stream:
        is_whole = isinstance(fields, dict) and fields.keys() == {"member", "records", "bytes", "sha256"}
        if not is_whole or not STREAM_NAME.fullmatch(name) or fields["member"] != f"{name}.jsonl":
            raise refusal(self.path, f"its manifest describes the stream {name[:80]!r} wrongly")
        records, num_bytes, sha256 = fields["records"], fields["bytes"], fields["sha256"]
        if not (_is_count(records) and _is_count(num_bytes) and isinstance(sha256, str) and DIGEST.fullmatch(sha256)):
            raise refusal(self.path, f"its manifest has wrong numbers for the stream {name!r}")
        return Stream(records, num_bytes, sha256)

    def _check_members(self) -> None:
        limits = self._limits
        expected = {f"{name}.jsonl": (one.num_bytes, limits.max_stream_bytes) for name, one in self._streams.items()}
        for digest, num_bytes in self._blobs.items():
            expected[f"blobs/{digest}.safetensors"] = (num_bytes, limits.max_blob_bytes)
        for name in self._entries.keys() - expected.keys() - {MANIFEST}:
            raise refusal(self.path, f"member {name!r} is not in its manifest")
        for name, (num_bytes, most) in expected.items():
            if name not in self._entries:
                raise refusal(self.path, f"member {name!r} of its manifest is missing")
            found = self._entries[name].num_bytes
            if found != num_bytes:
                raise refusal(self.path, f"member {name!r} has {found} bytes and its manifest says {num_bytes}")
            if found > most:
                raise refusal(self.path, f"member {name!r} has {found} bytes and may have {most}", "raise the limit")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _read_through(file: BinaryIO) -> None:
    while file.read(BLOCK_BYTES):
        pass
