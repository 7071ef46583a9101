"""Nearest: the nearest-neighbour index of one user's cubes, kept as a cache beside the vault.

What is on disk does not change once it is there: what came since is scored exactly, what went is left out by the
index's rows, and when much has changed the whole is built anew, by a thread of its own, while searches stay exact.
An erasure removes the tenant's folder (see `vault.sqlite.scrub`). Deleting it by hand loses nothing.
"""

import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engramos.clock import new_id
from engramos.errors import EngramosError, MissingExtraError, StoreError, translate
from engramos.plaintext.index import NONE, SearchIndex
from engramos.scope import Scope
from engramos.vault.ann.base import Ann, Opened
from engramos.vault.durable import make_folder, sync_folder

FOLDER = "ann"
STAMP = "stamp.json"
MARK = "building"
"""Stands in a folder that is being built, locked by the process that builds."""
STALE = 0.05
"""The share of rows that may have come since the building before it is done again."""
LEAST_LATE = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows that an index is built from."""

    keys: np.ndarray
    """Cube's number in the vault and its version, int64, shape (places, 2)."""
    vectors: np.ndarray
    """float16, shape (places, dims)."""
    seq: int
    embedder_key: int

    @classmethod
    def of(cls, index: SearchIndex) -> "Snapshot":
        """Copy the living rows that have a vector."""
        rows = np.flatnonzero(index.alive & index.has_vector)
        return cls(_keys(index)[rows], index.vectors[rows].astype(np.float16), index.seq, index.embedder_key)


class Nearest:
    """Finds rows of one search index near a vector; None while nothing is built yet.

    Args of the constructor:
        method: builds and opens.
        folder: of this user, below `ann`.
        is_kept: whether nothing that stood in the index at a place in the journal has gone since, by seq and embedder.
    """

    def __init__(self, method: Ann, folder: Path, is_kept: Callable[[int, int], bool]) -> None:
        self._method, self._folder, self._is_kept = method, folder, is_kept
        self._opened: Opened | None = None
        self._at = folder
        self._places = np.zeros((0, 2), dtype=np.int64)
        self._mapped: tuple[int, int] = (-1, 0)
        self._rows, self._scattered = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._tail = 0
        self._thread: threading.Thread | None = None
        self._failed_at, self._error = -1, None
        self._has_looked = False

    def find(self, index: SearchIndex, vector: np.ndarray, num: int) -> np.ndarray | None:
        """Return about `num` living rows near a vector, int64; None where all rows are to be scored instead.

        Raises:
            MissingExtraError: if the method's package is not installed.
        """
        self._look(index)
        if self._opened is None:
            self._begin(index)
            return None
        self._map(index)
        try:
            places = self._opened.find(vector, num)
        except EngramosError:
            self._drop()
            return None
        late = self._late(index, vector, num)
        if len(self._scattered) + len(index) - self._tail > max(LEAST_LATE, STALE * index.num_alive):
            self._begin(index)
        rows = np.concatenate([self._rows[places], late])
        rows = rows[rows != NONE]
        return rows[index.alive[rows]]

    def wait(self) -> None:
        """Wait until what is being built is there."""
        if self._thread is not None:
            self._thread.join()

    def _late(self, index: SearchIndex, vector: np.ndarray, num: int) -> np.ndarray:
        """Return the best of the rows that came after the building."""
        rows = np.concatenate([self._scattered, np.arange(self._tail, len(index))])
        if len(rows) <= num:
            return rows
        scattered = index.vectors[self._scattered] @ vector
        scores = np.concatenate([scattered, index.vectors[self._tail :] @ vector])
        return rows[np.argpartition(scores, len(scores) - num)[len(scores) - num :]]

    def _look(self, index: SearchIndex) -> None:
        """Take what was built since the last search, and let go of what is no longer there."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
            self._has_looked = False
        if isinstance(self._error, MissingExtraError):
            raise self._error
        if self._opened is not None and not (self._at / STAMP).exists():
            self._close()
        if self._has_looked:
            return
        self._has_looked = True
        self._close()
        found = sorted(self._folder.glob(f"*/{STAMP}"), reverse=True)
        for stamp in found:
            if self._opened is None and self._open(stamp, index):
                self._at = stamp.parent
            else:
                shutil.rmtree(stamp.parent, ignore_errors=True)
        for mark in self._folder.glob(f"*/{MARK}"):
            if not _is_locked(mark):
                shutil.rmtree(mark.parent, ignore_errors=True)

    def _open(self, path: Path, index: SearchIndex) -> bool:
        """Open one building if it is whole, of this method and of the index's embedder."""
        stamp = _read_stamp(path)
        if stamp is None or (stamp.get("method"), stamp.get("embedder_key")) != (
            repr(self._method),
            index.embedder_key,
        ):
            return False
        try:
            with translate({OSError: StoreError, ValueError: StoreError}, f"reading {path.parent}"):
                self._places = np.load(path.parent / "keys.npy")
                self._opened = self._method.open(path.parent)
        except MissingExtraError:
            raise
        except EngramosError:
            return False
        self._mapped = (-1, 0)
        return True

    def _map(self, index: SearchIndex) -> None:
        """Find the row of each place, once an index."""
        if self._mapped[0] == index.epoch:
            return
        num = len(index)
        keys = _keys(index)
        rows = np.flatnonzero(index.alive & index.has_vector)
        order = np.lexsort((keys[rows, 1], keys[rows, 0]))
        rows = rows[order]
        wanted, known = _packed(self._places), _packed(keys[rows])
        at = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        is_known = known[at] == wanted if len(known) else np.zeros(len(wanted), dtype=np.bool_)
        self._rows = np.where(is_known, rows[at] if len(rows) else NONE, NONE)
        covered = np.zeros(num, dtype=np.bool_)
        covered[self._rows[is_known]] = True
        self._tail = int(np.flatnonzero(covered)[-1]) + 1 if covered.any() else 0
        self._scattered = np.flatnonzero(
            index.alive[: self._tail] & index.has_vector[: self._tail] & ~covered[: self._tail]
        )
        self._mapped = (index.epoch, num)

    def _begin(self, index: SearchIndex) -> None:
        """Start building unless that is going on, or has failed on the same rows."""
        if self._thread is not None or self._failed_at == index.seq:
            return
        self._thread = threading.Thread(target=self._build, args=(Snapshot.of(index),), daemon=True, name="ann")
        self._thread.start()

    def _build(self, snapshot: Snapshot) -> None:
        self._failed_at = snapshot.seq
        try:
            with translate({OSError: StoreError}, f"writing into {self._folder}"):
                self._write(snapshot)
        except EngramosError as error:
            self._error = error
            return
        self._failed_at, self._error = -1, None

    def _write(self, snapshot: Snapshot) -> None:
        make_folder(self._folder)
        folder = self._folder / new_id()
        folder.mkdir(0o700)
        with _locked(folder / MARK):
            self._fill(folder, snapshot)

    def _fill(self, folder: Path, snapshot: Snapshot) -> None:
        try:
            np.save(folder / "keys.npy", snapshot.keys)
            self._method.build(folder, snapshot.vectors)
            # an erasure removes folders after its commit: either it finds this one, or its commit is seen here
            if not self._is_kept(snapshot.seq, snapshot.embedder_key):
                raise StoreError(f"cubes went while {folder} was built: the next search begins again")
            stamp = {"method": repr(self._method), "embedder_key": snapshot.embedder_key, "files": _sums(folder)}
            (folder / "stamp.new").write_text(json.dumps(stamp), encoding="utf-8")
            (folder / "stamp.new").rename(folder / STAMP)
            (folder / MARK).unlink()
            sync_folder(folder)
        except (EngramosError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _drop(self) -> None:
        """Forget a building that cannot be read, on disk too."""
        at = self._at
        self._close()
        shutil.rmtree(at, ignore_errors=True)

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


def folder_of(folder: Path, scope: Scope) -> Path:
    """Return where the building of a user lies, below the vault's folder."""
    return tenant_folder(folder, scope.tenant) / _name(scope.user)


def tenant_folder(folder: Path, tenant: str) -> Path:
    """Return the folder with all that is built of a tenant's vectors."""
    return folder / FOLDER / _name(tenant)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make a file and hold its lock, which ends with the process however that ends."""
    with path.open("wb") as file:
        if os.name != "nt":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_locked(path: Path) -> bool:
    """Return whether a living process holds a file's lock; on Windows, whether one has it open."""
    try:
        if os.name == "nt":
            path.unlink()
            return False
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _keys(index: SearchIndex) -> np.ndarray:
    return np.stack([index.key, np.asarray(index.versions, dtype=np.int64)], axis=1)


def _packed(keys: np.ndarray) -> np.ndarray:
    """Return one number for each cube and version."""
    return keys[:, 0] << 31 | keys[:, 1]


def _sums(folder: Path) -> dict[str, list[int]]:
    """Return size and CRC-32 of each file, by its path below the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (STAMP, "stamp.new", MARK):
            crc, size = 0, 0
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    crc, size = zlib.crc32(part, crc), size + len(part)
            found[path.relative_to(folder).as_posix()] = [size, crc]
    return found


def _read_stamp(path: Path) -> dict[str, Any] | None:
    """Return a stamp whose files are as they were written; None where anything is amiss."""
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
        return stamp if isinstance(stamp, dict) and stamp.get("files") == _sums(path.parent) else None
    except (OSError, ValueError):
        return None
