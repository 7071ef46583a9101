"""The role of an importer, and the search for the one that reads a file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from engramos.errors import ImportFailedError
from engramos.importers import ROLE
from engramos.importers._bytes import decode_head, read_head
from engramos.importers._zips import ZIP_STARTS, read_member_head
from engramos.messages import Document, Message, Problem

Record = Message | Document | Problem
COUNT_LIMIT_BYTES = 16_000_000


class Importer(ABC):
    """Reads files of one format.

    Methods are frozen dataclasses whose fields are the importer's parameters. An importer reads only the file that it
    is given and keeps nothing between calls: reading twice gives equal records.
    """

    __slots__ = ()

    reads: ClassVar[str]
    """What it reads, in a few words, for messages and help."""

    @abstractmethod
    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file is of this format: by its content first, by its suffix second.

        Of the importers that come with engramos, at most one recognises a file.

        Args:
            path: the file; opened again only if it is a zip.
            head: its first 65,536 bytes, or all of it if it is shorter.
        """

    @abstractmethod
    def read(self, path: Path) -> Iterator[Record]:
        """Yield what the file holds, in its order.

        A record that cannot be read is a `Problem` in its place and the rest goes on. Where the source names no time
        zone, UTC is assumed; a record whose date cannot be read is a `Problem`, one without a date has `at=None`.

        Raises:
            ImportFailedError: while iterating, if the file as a whole cannot be read.
            MissingExtraError: while iterating, if a package that the format needs is not installed.
        """

    def count(self, path: Path) -> int | None:
        """Return how many records to expect, for a progress bar; None if that is costly to know.

        A record that is a problem counts too; a file that is one document counts as 1, whatever problems it has. A file
        up to 16 MB is read once more to know it.

        Raises:
            ImportFailedError: if the file as a whole cannot be read.
        """
        if path.is_file() and path.stat().st_size > COUNT_LIMIT_BYTES:
            return None
        return sum(1 for _ in self.read(path))


def detect(path: Path) -> Importer:
    """Return the importer that recognises the file, with its default parameters.

    Raises:
        ImportFailedError: if the file is missing or empty, or not exactly one importer recognises it; the message
            lists the known formats.
    """
    path = Path(path)
    head = read_head(path)
    importers = {name: ROLE.make(name) for name in ROLE.names()}
    fitting = [name for name, importer in importers.items() if importer.recognises(path, head)]
    if len(fitting) == 1:
        return importers[fitting[0]]
    if fitting:
        raise ImportFailedError(str(path), "start", f"could be {' or '.join(fitting)}: name the format to use")
    known = "; ".join(f"{name} ({importer.reads})" for name, importer in importers.items())
    if head.startswith(ZIP_STARTS):
        read_member_head(path)
    elif decode_head(head) is None:
        raise ImportFailedError(str(path), "start", f"is binary; convert it to one of: {known}")
    raise ImportFailedError(
        str(path), "start", f"is of no known format; convert it, or name the format to use, one of: {known}"
    )
