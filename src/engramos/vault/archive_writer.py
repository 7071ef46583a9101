"""Writing an archive: whole under its name, or not there at all."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from engramos.clock import now
from engramos.errors import ArchiveError, CorruptPayloadError, translate
from engramos.vault.archive import BLOCK_BYTES, DIGEST, FORMAT, FORMAT_VERSION, MANIFEST, STREAM_NAME, SUFFIX
from engramos.vault.archive_zip import Limits, refusal
from engramos.vault.bounded_json import decode_object
from engramos.vault.durable import disk_errors, publish, sync_folder


class ArchiveWriter:
    """An archive in the making; a context manager: the archive appears when the block ends without error.

    Until then everything lies in the folder `<path>.partial`, which is removed in any case. Only a crash can leave it
    behind; the next writer says so. What the default `Limits` would refuse to read is refused here already.

    Args:
        path: the archive to be, with suffix `.engramos`.
        info: what to note of it, any JSON object.
        overwrite: replace an archive that is there.

    Raises:
        ArchiveError: if the name is taken or unfit, or the disk is full or refuses.
    """

    def __init__(self, path: Path, info: Mapping, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._info, self._overwrite, self._limits = dict(info), overwrite, Limits()
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._streams: dict[str, _Spool] = {}
        self._blobs: dict[str, tuple[Path, int]] = {}

    def __enter__(self) -> Self:
        if self.path.suffix != SUFFIX:
            raise refusal(self.path, "its name is unfit", f"end it in {SUFFIX}")
        self._refuse_taken()
        with disk_errors(ArchiveError, f"writing archive {self.path}"):
            try:
                os.mkdir(self._partial, 0o700)
            except FileExistsError as error:
                other = f"{self._partial} is there: another dump is running, or one was cut off"
                raise refusal(self.path, other, "wait for it, or delete that folder") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                with disk_errors(ArchiveError, f"writing archive {self.path}"):
                    self._finish()
        finally:
            for spool in self._streams.values():
                with suppress(OSError):  # a full disk: the lines are given up in any case
                    spool.close()
            shutil.rmtree(self._partial, ignore_errors=True)

    def open_stream(self, stream: str) -> None:
        """Begin a stream, so that it is in the archive even if no record follows."""
        if not isinstance(stream, str) or not STREAM_NAME.fullmatch(stream):
            raise refusal(self.path, f"the stream name {stream!r} is unfit", "use small letters, digits and _")
        if stream not in self._streams:
            with disk_errors(ArchiveError, f"writing archive {self.path}"):
                self._streams[stream] = _Spool(self._partial / f"{stream}.jsonl")

    def write(self, stream: str, record: Mapping) -> None:
        """Append a record to a stream.

        Raises:
            ArchiveError: if the record is no JSON object, or over the limits for reading; or the disk refuses.
        """
        self.open_stream(stream)
        what = f"record {self._streams[stream].num_records + 1} of stream {stream!r}"
        line = _encode(dict(record), f"writing {what} to archive {self.path}")
        if len(line) > self._limits.max_line_bytes:
            raise refusal(
                self.path, f"{what} has {len(line)} bytes", f"at most {self._limits.max_line_bytes} can be read"
            )
        if len(line) > self._limits.max_line_values:  # a shorter line cannot hold too many values
            decode_object(line, what, max_values=self._limits.max_line_values)
        with disk_errors(ArchiveError, f"writing archive {self.path}"):
            self._streams[stream].append(line + b"\n")

    def add_blob(self, digest: str, path: Path) -> None:
        """Add a safetensors file; it is read, and its SHA-256 compared with `digest`, when the block ends.

        Raises:
            ArchiveError: if the digest is none, the file is missing, or there are too many blobs.
        """
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise refusal(self.path, f"the digest {digest!r} is none", "give the 64 hex characters of a SHA-256")
        if len(self._blobs) + len(self._streams) + 1 >= self._limits.max_members:
            raise refusal(self.path, f"it would have over {self._limits.max_members} members", "dump fewer scopes")
        with disk_errors(ArchiveError, f"adding blob {path} to archive {self.path}"):
            self._blobs[digest] = (Path(path), os.stat(path).st_size)

    def _finish(self) -> None:
        for spool in self._streams.values():
            spool.close()
        archive = self._partial / "archive"
        stored = self._write(archive, frozenset())
        if stored:
            # Text that packs very well looks like a bomb to the reader, so it goes in unpacked.
            os.unlink(archive)
            self._write(archive, stored)
        if self._overwrite:
            os.replace(archive, self.path)
        elif not publish(archive, self.path):
            self._refuse_taken()
        sync_folder(self.path.parent)

    def _write(self, archive: Path, stored: frozenset[str]) -> frozenset[str]:
        """Write the zip file; if a stream packs too well to be read, stop and return the names of all such streams."""
        with open(archive, "xb") as file:
            with zipfile.ZipFile(file, "w") as target:
                _add(target, MANIFEST, io.BytesIO(self._manifest()), 0, zipfile.ZIP_STORED)
                for name, spool in self._streams.items():
                    method = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
                    with open(spool.path, "rb") as source:
                        _add(target, f"{name}.jsonl", source, spool.num_bytes, method)
                too_dense = frozenset(name for name in self._streams if self._is_too_dense(target, name))
                if not too_dense:
                    for digest, (path, num_bytes) in self._blobs.items():
                        self._add_blob(target, digest, path, num_bytes)
            file.flush()
            os.fsync(file.fileno())
        return too_dense

    def _is_too_dense(self, target: zipfile.ZipFile, stream: str) -> bool:
        member = target.getinfo(f"{stream}.jsonl")
        return member.file_size > self._limits.max_ratio // 2 * member.compress_size

    def _add_blob(self, target: zipfile.ZipFile, digest: str, path: Path, num_bytes: int) -> None:
        with open(path, "rb") as source:
            found, num_found = _add(target, f"blobs/{digest}.safetensors", source, num_bytes, zipfile.ZIP_STORED)
        if found != digest or num_found != num_bytes:
            raise CorruptPayloadError(f"blob {path}", digest, found)

    def _manifest(self) -> bytes:
        streams = {
            name: {
                "member": f"{name}.jsonl",
                "records": one.num_records,
                "bytes": one.num_bytes,
                "sha256": one.digest(),
            }
            for name, one in self._streams.items()
        }
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created_at": now().isoformat(),
            "streams": streams,
            "blobs": {digest: num_bytes for digest, (_, num_bytes) in self._blobs.items()},
            "info": self._info,
        }
        data = _encode(manifest, f"writing the manifest of archive {self.path}")
        if len(data) > self._limits.max_manifest_bytes:
            raise refusal(self.path, f"its manifest would have {len(data)} bytes", "give a shorter info")
        decode_object(data, "the manifest", max_values=self._limits.max_line_values)
        return data

    def _refuse_taken(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            raise refusal(self.path, "this file is there already", "choose another name, or ask to overwrite it")


class _Spool:
    """The lines of one stream on disk, with their number and checksum."""

    def __init__(self, path: Path) -> None:
        self.path, self.num_records, self.num_bytes = path, 0, 0
        self._sha256 = hashlib.sha256()
        self._file = open(path, "xb", buffering=BLOCK_BYTES)  # noqa: SIM115 - see close

    def append(self, line: bytes) -> None:
        self._file.write(line)
        self._sha256.update(line)
        self.num_records += 1
        self.num_bytes += len(line)

    def digest(self) -> str:
        return self._sha256.hexdigest()

    def close(self) -> None:
        self._file.close()


def _encode(value: dict, what: str) -> bytes:
    with translate({ValueError: ArchiveError, TypeError: ArchiveError, RecursionError: ArchiveError}, what):
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:  # half a surrogate pair: only its escape can be written
            return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def _add(target: zipfile.ZipFile, name: str, source: BinaryIO, num_bytes: int, method: int) -> tuple[str, int]:
    """Write a member and return the SHA-256 and number of its bytes; `num_bytes` tells zipfile which header to use."""
    member = zipfile.ZipInfo(name)  # dated 1980 for all: the manifest has the date
    member.compress_type, member.file_size = method, num_bytes
    digest, num_found = hashlib.sha256(), 0
    with target.open(member, "w") as packed:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            num_found += len(block)
            packed.write(block)
    return digest.hexdigest(), num_found
