"""Files that survive a power loss: synced folders, and names given once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engramos.errors import EngramosError, translate

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})


@contextmanager
def disk_errors(ours: type[EngramosError], what: str) -> Iterator[None]:
    """Turn the system's errors into `ours`; a full disk is called a full disk."""
    with translate({OSError: ours}, what, next_step="check that the path exists and that you may use it"):
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ours(f"{what} failed: the disk is full; free some space on it and try again") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # Windows has no such call: its file system journals names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, readable by the owner only, each one durable."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        try:
            os.mkdir(new, 0o700)
        except FileExistsError:  # another process was faster
            if not new.is_dir():
                raise
        sync_folder(new.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(source: Path, target: Path) -> bool:
    """Give `source` the name `target` unless that is taken; durable once the folder of `target` is synced.

    A hard link is the one call that never replaces a file. Where the file system has none, the name is looked up
    first, and two processes that publish in the same instant could replace each other's file.

    Args:
        source: the file to rename, synced already.
        target: its name to be, on the same file system.

    Returns:
        True if `source` has become `target`; False if the name was taken, and then nothing has changed.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            return False
        os.rename(source, target)
        return True
    os.unlink(source)
    return True
