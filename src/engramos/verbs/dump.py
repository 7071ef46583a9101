"""dump: one user's whole memory as one file."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engramos.cube import encode
from engramos.scope import Scope
from engramos.vault.archive_writer import ArchiveWriter
from engramos.vault.cube_records import cube_record
from engramos.vault.sqlite.schema import SCHEMA_VERSION
from engramos.vault.sqlite.snapshot import Snapshot
from engramos.verbs.parts import Parts

STREAMS = ("cubes", "tombstones", "journal", "usage")


@dataclass(frozen=True, slots=True)
class Dumped:
    """What was written."""

    path: Path
    num_cubes: int
    num_versions: int
    num_bytes: int
    """Of the file."""


class ContentDigest:
    """SHA-256 over all versions and tombstones in order: two memories with the same content have the same one.

    States, trust, lineage and times are in the versions; journal and usage, which differ by their nature, are left out.
    """

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add_version(self, header: str, payload: str, text: str | None) -> None:
        """Take in the next version: header and payload as compact JSON with sorted keys."""
        self._state.update(f'{{"header":{header},"payload":{payload},"text":{encode(text)}}}\n'.encode())

    def add_tombstone(self, cube_id: str, erased_us: int, num_versions: int) -> None:
        """Take in the next tombstone."""
        self._state.update(encode(tombstone_record(cube_id, erased_us, num_versions)).encode() + b"\n")

    def hexdigest(self) -> str:
        """Return the digest of all records so far, in hexadecimal."""
        return self._state.hexdigest()


def dump(parts: Parts, target: Path, scope: Scope, *, overwrite: bool = False) -> Dumped:
    """Write all that a user's memory holds into an archive: versions, tombstones, journal, usage and blobs.

    It is one consistent state; others write meanwhile, and a blob that one of them erases before it is copied ends the
    dump. Lineage is in the versions' headers. Vectors and terms are left out: they can be made again, and a vector is
    personal data. The state is read twice, first to check and count it, and streamed: memory stays bounded.

    Args:
        parts: of the open memory.
        target: the file to be, ending in `.engramos`.
        scope: the tenant and user; agent and session do not narrow.
        overwrite: replace a file that is there.

    Raises:
        ArchiveError: if the name is taken or unfit, or the disk is full or refuses.
        CorruptPayloadError: if a stored version or blob is damaged.
        BlobError: if a blob is missing.
    """
    parts.flush_uses()
    with parts.vault.snapshot() as snapshot:
        info, blobs = _survey(snapshot, scope)
        with ArchiveWriter(target, info, overwrite) as writer:
            for stream in STREAMS:
                writer.open_stream(stream)
            for digest in sorted(blobs):
                with parts.vault.blobs.open(scope.tenant, digest) as file:
                    writer.add_blob(digest, Path(file.name))
            for _, *row in snapshot.versions(scope):
                writer.write("cubes", cube_record(*row))
            for row in snapshot.tombstones(scope):
                writer.write("tombstones", tombstone_record(*row))
            for row in snapshot.journal(scope):
                writer.write("journal", row)
            for cube_id, uses, last_used_us, strength in snapshot.usage(scope):
                record = {"cube_id": cube_id, "uses": uses, "last_used_at": last_used_us, "strength": strength}
                writer.write("usage", record)
    return Dumped(target, info["num_cubes"], info["num_versions"], target.stat().st_size)


def tombstone_record(cube_id: str, erased_us: int, num_versions: int) -> dict[str, Any]:
    """Return a tombstone as a record."""
    return {"cube_id": cube_id, "erased_at": erased_us, "num_versions": num_versions}


def _survey(snapshot: Snapshot, scope: Scope) -> tuple[dict[str, Any], set[str]]:
    """Return what the archive says of itself, and the digests of the blobs that its versions use."""
    digest, blobs = ContentDigest(), set()
    num_cubes = num_versions = num_tombstones = 0
    for cube, *row in snapshot.versions(scope):
        digest.add_version(*row)
        num_versions += 1
        num_cubes += cube.version == 1
        if cube.blob is not None:
            blobs.add(cube.blob)
    for row in snapshot.tombstones(scope):
        digest.add_tombstone(*row)
        num_tombstones += 1
    info = {
        "engramos": version("engramos"),
        "schema": SCHEMA_VERSION,
        "scope": {"tenant": scope.tenant, "user": scope.user},
        "num_cubes": num_cubes,
        "num_versions": num_versions,
        "num_tombstones": num_tombstones,
        "digest": digest.hexdigest(),
    }
    return info, blobs
