"""Blobs on a local folder: named by their content, created once, never changed."""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from engramos import failpoints
from engramos.clock import new_id, now_us
from engramos.errors import BlobError, CorruptPayloadError, InvalidInputError
from engramos.scope import check_name
from engramos.vault.durable import disk_errors, make_folder, publish, sync_folder

BLOCK_BYTES = 1 << 20
_TEMPORARY = ".new-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[0-9a-f]{32}")
_MAX_KNOWN_FOLDERS = 4096


def tenant_key(tenant: str) -> str:
    """Return the name of a tenant's folder: 32 hex characters that do not show the tenant's name."""
    return hashlib.sha256(check_name("tenant", tenant).encode()).hexdigest()[:32]


class BlobStore:
    """The blobs of all tenants, in `<folder>/<key of the tenant>/<first two of the digest>/<digest>`.

    A digest is the SHA-256 of the content, 64 lower-case hex characters. When `put` returns, the blob survives a
    power loss. Tenants share no file, even for equal content, so that erasing one tenant's blob is complete and
    nobody learns what others hold. Several processes may use one folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._durable: set[Path] = set()

    def put(self, tenant: str, data: bytes | BinaryIO) -> tuple[str, int]:
        """Store bytes and return their digest and number; durable when it returns.

        Bytes that the tenant has already change nothing, unless the stored copy is damaged: then it is replaced.

        Args:
            tenant: whose blob it is.
            data: the bytes, or a binary stream that is read to its end in blocks of 1 MiB.

        Raises:
            BlobError: if the disk is full or refuses; nothing is left behind.
        """
        key = tenant_key(tenant)
        with disk_errors(BlobError, f"writing a blob of tenant {tenant!r} to {self.folder}"):
            return self._put(key, data if hasattr(data, "read") else io.BytesIO(data))

    def open(self, tenant: str, digest: str) -> BinaryIO:
        """Return a blob as a stream for reading; its bytes are not verified, `read` does that.

        Raises:
            BlobError: if there is no such blob.
        """
        path = self._path(tenant_key(tenant), _checked(digest))
        with disk_errors(BlobError, f"opening {path}"):
            try:
                return open(path, "rb")
            except FileNotFoundError as error:
                raise BlobError(
                    f"tenant {tenant!r} has no blob {digest} in {self.folder}: "
                    f"run 'engramos verify', then restore it from a backup"
                ) from error

    def read(self, tenant: str, digest: str) -> bytes:
        """Return the bytes of a blob, verified.

        Raises:
            BlobError: if there is no such blob.
            CorruptPayloadError: if the bytes are not those of the digest.
        """
        with self.open(tenant, digest) as file, disk_errors(BlobError, f"reading {file.name}"):
            data = file.read()
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise CorruptPayloadError(f"blob {file.name}", digest, found)
        return data

    def erase(self, tenant: str, digest: str) -> bool:
        """Remove a blob and every left-over copy of it; return whether it was there. Durable when it returns.

        The bytes are not overwritten first: solid-state disks and copying file systems write new bytes elsewhere, so
        that overwriting proves nothing. Who must exclude a look at the raw disk encrypts it.

        Raises:
            BlobError: if the disk refuses.
        """
        key = tenant_key(tenant)
        path = self._path(key, _checked(digest))
        with disk_errors(BlobError, f"erasing {path}"):
            try:
                file = os.stat(path)
            except FileNotFoundError:
                return False
            for copy in self._temporaries(key):  # a crash between link and unlink leaves a second name
                with suppress(FileNotFoundError):
                    if file.st_nlink > 1 and os.path.samestat(os.stat(copy), file):
                        os.unlink(copy)
            with suppress(FileNotFoundError):
                os.unlink(path)
            sync_folder(path.parent)
            sync_folder(self.folder / key)
        return True

    def digests(self, tenant: str) -> list[str]:
        """Return the digests of a tenant's blobs, sorted."""
        return sorted(self._digests(tenant_key(tenant)))

    def tenants(self) -> list[str]:
        """Return the keys (see `tenant_key`) of the tenants that have a folder, sorted."""
        with disk_errors(BlobError, f"listing {self.folder}"):
            return sorted(name for name in _names(self.folder) if _KEY.fullmatch(name))

    def leftovers(self, min_age_s: float = 3600.0) -> list[Path]:
        """Return the temporary files of writes that never ended, at least `min_age_s` old: they may be deleted."""
        newest_ns = now_us() * 1000 - int(min_age_s * 1e9)
        found = []
        for key in self.tenants():
            with disk_errors(BlobError, f"listing {self.folder / key}"):
                for path in self._temporaries(key):
                    with suppress(FileNotFoundError):
                        if os.stat(path).st_mtime_ns <= newest_ns:
                            found.append(path)
        return found

    def copy_to(self, folder: Path) -> int:
        """Copy every blob to another folder of the same layout; return how many were new there.

        Blobs that are erased meanwhile are left out.

        Raises:
            BlobError: if a disk is full or refuses.
            CorruptPayloadError: if a blob here is damaged; it is not copied.
        """
        target = BlobStore(folder)
        num_copied = 0
        for key in self.tenants():
            for digest in self._digests(key):
                path = self._path(key, digest)
                with disk_errors(BlobError, f"copying {path} to {target.folder}"), suppress(FileNotFoundError):
                    num_copied += target._take(path, key, digest)
        return num_copied

    def _take(self, source: Path, key: str, digest: str) -> bool:
        if _digest_of(source) != digest:
            raise CorruptPayloadError(f"blob {source}", digest, _digest_of(source))
        is_new = not self._path(key, digest).exists()
        with open(source, "rb") as file:
            self._put(key, file)
        return is_new

    def _put(self, key: str, stream: BinaryIO) -> tuple[str, int]:
        self._prepare(self.folder / key)
        temporary = self.folder / key / f"{_TEMPORARY}{new_id()}"
        try:
            digest, num_bytes = _write_synced(temporary, stream)
            failpoints.reach("blob_written")
            final = self._path(key, digest)
            self._prepare(final.parent)
            if not publish(temporary, final) and not _holds(final, digest):
                os.replace(temporary, final)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        sync_folder(final.parent)  # also for a name that was taken: its writer may not have got so far yet
        failpoints.reach("blob_renamed")
        return digest, num_bytes

    def _prepare(self, folder: Path) -> None:
        """Make a folder and sync every level above it once: another process may have made it and not synced yet."""
        if folder in self._durable:
            return
        make_folder(folder)
        for level in (folder, *folder.parents):
            sync_folder(level.parent)
            if level == self.folder:
                break
        if len(self._durable) >= _MAX_KNOWN_FOLDERS:
            self._durable.clear()
        self._durable.add(folder)

    def _path(self, key: str, digest: str) -> Path:
        return self.folder / key / digest[:2] / digest

    def _temporaries(self, key: str) -> list[Path]:
        return [self.folder / key / name for name in _names(self.folder / key) if name.startswith(_TEMPORARY)]

    def _digests(self, key: str) -> Iterator[str]:
        with disk_errors(BlobError, f"listing {self.folder / key}"):
            for prefix in sorted(name for name in _names(self.folder / key) if len(name) == 2):
                for name in _names(self.folder / key / prefix):
                    if _DIGEST.fullmatch(name) and name[:2] == prefix:
                        yield name


def _checked(digest: object) -> str:
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidInputError(f"digest {digest!r}: give the 64 lower-case hex characters of a SHA-256")
    return digest


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _write_synced(path: Path, stream: BinaryIO) -> tuple[str, int]:
    digest, num_bytes = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with open(descriptor, "wb") as file:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            num_bytes += len(block)
            file.write(block)
        file.flush()
        os.fsync(descriptor)
    return digest.hexdigest(), num_bytes


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds(path: Path, digest: str) -> bool:
    try:
        return _digest_of(path) == digest
    except FileNotFoundError:  # erased a moment ago
        return False
