"""A disk that loses power: an SQLite VFS under which only synced bytes are sure to survive.

SQLite works on real files, so that locks and shared memory are the real ones. Beside each file two images are kept:
what SQLite reads, and what the last xSync made durable. At the cut, every 512-byte sector that was written and not
synced since survives with p = 0.5; so does a truncation, a deletion and a new name that was never synced. The
shared-memory file is left out: it lives in memory, and a machine that starts again has none. The process goes on
after the cut in a world of its own, of which nothing is kept.

Source: ours; the model of torn sectors is that of SQLite's "atomic commit" page and of its test_vfs crash tests.
"""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import apsw

SECTOR_BYTES = 512
REAL_VFS = "unix"


@dataclass
class Image:
    """One file: what is read, what is durable, and what is between the two."""

    live: bytearray
    durable: bytearray
    is_named: bool
    """Whether its name in the folder is durable."""
    unsynced: set[int] = field(default_factory=set)
    """Sectors that were written since the last sync."""
    shortest: int | None = None
    """The least size since the last sync, where it was truncated."""
    is_deleted: bool = False

    def write(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        if end > len(self.live):
            self.live.extend(bytes(end - len(self.live)))
        self.live[offset:end] = data
        self.unsynced.update(range(offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1))

    def truncate(self, size: int) -> None:
        del self.live[size:]
        self.shortest = size if self.shortest is None else min(size, self.shortest)
        self.unsynced = {sector for sector in self.unsynced if sector * SECTOR_BYTES < size}

    def sync(self) -> None:
        self._overlay(self.durable, self.shortest, self.unsynced)
        assert self.durable == self.live
        self.unsynced, self.shortest = set(), None

    def after_cut(self, rng: random.Random) -> bytes | None:
        """Return what a machine finds that starts again; None for no file."""
        if (not self.is_named or self.is_deleted) and rng.random() < 0.5:
            return None
        found = bytearray(self.durable)
        shortest = self.shortest if rng.random() < 0.5 else None
        self._overlay(found, shortest, {sector for sector in sorted(self.unsynced) if rng.random() < 0.5})
        return bytes(found)

    def _overlay(self, target: bytearray, shortest: int | None, sectors: set[int]) -> None:
        if shortest is not None:
            del target[shortest:]
        for sector in sectors:
            start, data = sector * SECTOR_BYTES, self.live[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES]
            if start + len(data) > len(target):
                target.extend(bytes(start + len(data) - len(target)))
            target[start : start + len(data)] = data


class Disk(apsw.VFS):
    """The VFS; `cut` takes the power, now or before the `cut_at`-th write, sync, truncation or deletion."""

    def __init__(
        self, name: str, seed: object, cut_at: int | None = None, fail_rate: float = 0.0, error: str = "IOError"
    ) -> None:
        super().__init__(name, REAL_VFS)
        self.name = name
        self.num_operations = 0
        self.num_syncs = 0
        self.num_failures = 0
        self.fail_rate, self._error = fail_rate, getattr(apsw, error)
        self.survivors: dict[str, bytes] | None = None
        self._cut_at, self._rng, self._lock = cut_at, random.Random(str(seed)), threading.RLock()
        self._images: dict[str, Image] = {}

    @property
    def is_cut(self) -> bool:
        return self.survivors is not None

    def cut(self) -> None:
        """Take the power; what survives is in `survivors`, by file name."""
        with self._lock:
            if self.survivors is None:
                found = {Path(path).name: image.after_cut(self._rng) for path, image in self._images.items()}
                self.survivors = {name: data for name, data in found.items() if data is not None}

    def write_survivors(self, folder: Path) -> None:
        """Put what survived into a new folder."""
        folder.mkdir()
        for name, data in (self.survivors or {}).items():
            (folder / name).write_bytes(data)

    def xOpen(self, name, flags):  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            return apsw.VFSFile(REAL_VFS, name, flags)
        with self._lock:
            # read before SQLite opens it: closing a file drops the locks that this process has on it
            if path not in self._images or self._images[path].is_deleted:
                found = Path(path).read_bytes() if Path(path).exists() else None
                self._images[path] = Image(bytearray(found or b""), bytearray(found or b""), found is not None)
            return _File(name, flags, self, self._images[path])

    def xDelete(self, name, syncdir):  # noqa: N802
        with self.operation():
            super().xDelete(name, syncdir)
            if name in self._images:
                self._images[name].is_deleted = True
            if syncdir:
                self.sync_names()

    def sync_names(self) -> None:
        """Make new and deleted names durable, as SQLite does by syncing the folder when a new file is first synced."""
        self._images = {path: image for path, image in self._images.items() if not image.is_deleted}
        for image in self._images.values():
            image.is_named = True

    def operation(self) -> threading.RLock:
        """Count an operation; cut the power before it if it is the one, or let it fail."""
        with self._lock:
            self.num_operations += 1
            if self.num_operations == self._cut_at:
                self.cut()
            if self.fail_rate and self._rng.random() < self.fail_rate:
                self.num_failures += 1
                raise self._error("the simulated disk fails")
        return self._lock


class _File(apsw.VFSFile):
    def __init__(self, name, flags, disk: Disk, image: Image) -> None:
        super().__init__(REAL_VFS, name, flags)
        self._disk, self._image = disk, image

    def xWrite(self, data, offset):  # noqa: N802
        with self._disk.operation():
            super().xWrite(data, offset)
            self._image.write(bytes(data), offset)

    def xTruncate(self, size):  # noqa: N802
        with self._disk.operation():
            super().xTruncate(size)
            self._image.truncate(size)

    def xSync(self, flags):  # noqa: N802
        with self._disk.operation():
            self._disk.num_syncs += 1
            if not self._image.is_named:
                self._disk.sync_names()
            self._image.sync()
