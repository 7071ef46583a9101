"""load: a dumped memory back into a memory, this one or another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from engramos.changes import (
    Archive,
    Change,
    Create,
    Expire,
    Freeze,
    IndexEntry,
    Merge,
    Request,
    Restore,
    Supersede,
    Update,
    Write,
)
from engramos.clock import new_id
from engramos.cube import MemCube, State, header_to_json, payload_to_json
from engramos.errors import ArchiveError, InvalidInputError, RequestError, VersionConflictError
from engramos.plaintext.terms import pack
from engramos.scheduler.triggers import triggered_by
from engramos.scope import Scope
from engramos.vault.archive import ArchiveReader
from engramos.vault.cube_records import check_cube_id, check_number, check_us, cube_from_record
from engramos.vault.sqlite.loading import Loading
from engramos.vault.sqlite.records import digest_of, is_searched
from engramos.vault.tensors import check_tensors
from engramos.verbs.dump import STREAMS, ContentDigest
from engramos.verbs.parts import Parts, indexed_terms
from engramos.verbs.reembed import reembed

BATCH = 256
"""Cubes, or other records, that are looked at together."""
_KIND_OF_STATE: dict[State, type[Write]] = {
    State.MERGED: Merge,
    State.ARCHIVED: Archive,
    State.EXPIRED: Expire,
    State.FROZEN: Freeze,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a load."""

    num_cubes: int
    """Cubes that were new here."""
    num_versions: int
    """Their versions."""
    num_known: int
    """Cubes that were here with the same versions."""
    num_erased: int
    """Cubes of the archive that were erased here, and stay so."""


def load(parts: Parts, path: Path, scope: Scope, *, progress: Callable[[int], None] = lambda num: None) -> Loaded:
    """Load an archive that `dump` wrote; a second load of the same archive changes nothing.

    All versions, tombstones and uses become durable in one commit, so that a memory never holds half an archive,
    whatever happens in between; other writers wait for it. Vectors, which take most of the time, are made after it, a
    batch a commit, as `reembed` does: where that is cut off, `verify` tells, and loading or reembedding again goes on.
    Until then the loaded cubes are found by their words.

    Ids, times, states, trust, lineage and who made a version are kept. The cubes become those of `scope`: where tenant
    or user differ from the archive's, the headers are rewritten. A cube that was erased here stays erased. Tombstones
    erase nothing here; those of ids that are unknown here are stored. The journal here gets a row for each version,
    with who loaded it; the archive's own journal, whose chain is another one, stays in the archive.

    Args:
        parts: of the open memory.
        path: the archive.
        scope: whose the cubes become; agent and session do not count.
        progress: called with the number of cubes of each batch.

    Raises:
        ArchiveError: if the archive is damaged or hostile, with stream and line; nothing was loaded then.
        VersionConflictError: if a cube of the archive is here with other versions; nothing was loaded then.
        EmbedderMismatchError: if another embedder made the memory's vectors.
    """
    parts.check_embedder()
    with ArchiveReader(path) as archive:
        if set(archive.streams) != set(STREAMS):
            raise ArchiveError(f"archive {path} has other streams than a dump: give a file that 'engramos dump' wrote")
        archive.check()
        source = _source(archive)
        put = _put_blobs(parts, archive, source, scope)
        request = Request(scope.user, new_id(), f"load {str(archive.info.get('digest'))[:16]}")
        try:
            loaded = parts.vault.write(
                lambda connection: _Load(archive, source, Loading(connection, scope, request), progress).run()
            )
        finally:
            if put:
                # removes those that no version uses: all of them where nothing was loaded
                parts.vault.scrub(scope.tenant, put)
    if parts.embedder is not None and (loaded.num_cubes or _lacks_vectors(parts, scope)):
        reembed(parts)
    return loaded


def _source(archive: ArchiveReader) -> Scope:
    try:
        table = archive.info["scope"]
        return Scope(table["tenant"], table["user"])
    except (KeyError, TypeError, RequestError) as error:
        raise ArchiveError(f"archive {archive.path} does not say whose it is: it was not made by dump") from error


def _lacks_vectors(parts: Parts, scope: Scope) -> bool:
    embedder = parts.embedder
    return embedder is not None and bool(parts.vault.without_vector(scope.tenant, embedder.fingerprint, 1))


def _put_blobs(parts: Parts, archive: ArchiveReader, source: Scope, scope: Scope) -> list[str]:
    """Store the blobs of the archive's cubes, all checked first; those of cubes erased here are left out.

    Returns:
        The digests that are new here.
    """
    listed = dict(archive.blobs())
    if not listed:
        return []
    for digest, num_bytes in listed.items():
        with archive.open_blob(digest) as file:
            check_tensors(file, num_bytes, f"blob {digest} of archive {archive.path}")
    wanted = {
        cube.blob
        for _, cube in _cubes(archive, source)
        if cube.blob is not None and parts.vault.tombstone(scope.tenant, cube.id) is None
    }
    known = set(parts.vault.blobs.digests(scope.tenant))
    new = sorted(wanted & listed.keys() - known)
    for digest in sorted(wanted & listed.keys()):
        with archive.open_blob(digest) as file:
            parts.vault.blobs.put(scope.tenant, file)
    return new


def _lines(archive: ArchiveReader, stream: str, read: Callable[[dict], Any]) -> Iterator[tuple[int, Any]]:
    """Yield line number and value of the records of a stream.

    Raises:
        ArchiveError: at a record that `read` refuses, with stream and line.
    """
    for line, record in enumerate(archive.records(stream), start=1):
        try:
            value = read(record)
        except RequestError as error:
            raise refused(archive, stream, line, str(error)) from error
        yield line, value


def refused(archive: ArchiveReader, stream: str, line: int, problem: str) -> ArchiveError:
    """Return the error for a record that must not be loaded."""
    where = f"{stream}.jsonl line {line} of archive {archive.path}"
    return ArchiveError(f"{where}: {problem}; nothing was loaded, and the archive is not to be trusted")


def _cubes(archive: ArchiveReader, source: Scope) -> Iterator[tuple[int, MemCube]]:
    """Yield line and version; they come by id and without gaps, belong to one user, and have the blobs they name."""
    blobs = dict(archive.blobs())
    before: MemCube | None = None
    for line, cube in _lines(archive, "cubes", cube_from_record):
        problem = ""
        if (cube.header.scope.tenant, cube.header.scope.user) != (source.tenant, source.user):
            problem = "the cube belongs to another user than the archive"
        elif before is None or cube.id != before.id:
            if cube.version != 1 or (before is not None and cube.id < before.id):
                problem = "the cube does not begin with version 1, or is out of order"
        elif cube.version != before.version + 1 or cube.header.created_at <= before.header.created_at:
            problem = "the version does not follow the one before it"
        elif cube.header.form is not before.header.form:
            problem = "the version is of another form than the one before it"
        if cube.blob is not None and blobs.get(cube.blob) != getattr(cube.payload, "num_bytes", None):
            problem = f"its blob {cube.blob} is not in the archive"
        if problem:
            raise refused(archive, "cubes", line, problem)
        before = cube
        yield line, cube


def _tombstone(record: dict) -> tuple[str, int, int]:
    if record.keys() != {"cube_id", "erased_at", "num_versions"}:
        raise InvalidInputError("it does not have the keys of a tombstone")
    cube_id = check_cube_id(record["cube_id"])
    return cube_id, check_us("erased_at", record["erased_at"]), check_number("num_versions", record["num_versions"], 1)


def _use(record: dict) -> tuple[str, int, int, float]:
    if record.keys() != {"cube_id", "uses", "last_used_at", "strength"}:
        raise InvalidInputError("it does not have the keys of a use")
    strength = record["strength"]
    if type(strength) not in (int, float) or not 0.0 <= strength <= 1.0:
        raise InvalidInputError(f"strength is {strength!r}: a number from 0 to 1 is needed")
    at_us = check_us("last_used_at", record["last_used_at"])
    return check_cube_id(record["cube_id"]), check_number("uses", record["uses"]), at_us, float(strength)


def _journal(record: dict) -> int:
    texts = ("kind", "cube_id", "actor", "request_id", "reason", "seal", "hash")
    if record.keys() != {"seq", "at_us", "version", *texts} or not all(isinstance(record[one], str) for one in texts):
        raise InvalidInputError("it does not have the keys of a journal row")
    check_us("at_us", record["at_us"])
    check_number("version", record["version"])
    return check_number("seq", record["seq"], 1)


class _Load:
    """One load, within its transaction."""

    def __init__(
        self, archive: ArchiveReader, source: Scope, loading: Loading, progress: Callable[[int], None]
    ) -> None:
        self._archive, self._source, self._loading, self._progress = archive, source, loading, progress
        self._digest = ContentDigest()
        self._counts = dict.fromkeys(("cubes", "versions", "known", "erased"), 0)
        self._used: set[str] = set()

    def run(self) -> Loaded:
        """Load everything, tombstones first, so that no edge leads to what was erased."""
        buried = self._rising("tombstones", _tombstone)
        while batch := list(islice(buried, BATCH)):
            self._loading.bury([one for _, one in batch])
        cubes = self._living()
        while groups := list(islice(cubes, BATCH)):
            self._load(groups)
            self._progress(len(groups))
        for _, one in self._rising("tombstones", _tombstone):
            self._digest.add_tombstone(*one)
        uses = self._rising("usage", _use)
        while batch := list(islice(uses, BATCH)):
            self._loading.set_usage([one for _, one in batch])
        for _ in _lines(self._archive, "journal", _journal):
            pass
        path = self._archive.path
        if self._digest.hexdigest() != self._archive.info.get("digest"):
            raise ArchiveError(f"archive {path} does not hold what its manifest says: nothing was loaded")
        if self._used != {digest for digest, _ in self._archive.blobs()}:
            raise ArchiveError(f"archive {path} holds a blob that no cube uses: nothing was loaded")
        return Loaded(**{f"num_{name}": num for name, num in self._counts.items()})

    def _rising(self, stream: str, read: Callable[[dict], tuple]) -> Iterator[tuple[int, tuple]]:
        """Yield line and value of a stream whose ids rise, so that none comes twice."""
        last = ""
        for line, value in _lines(self._archive, stream, read):
            if value[0] <= last:
                raise refused(self._archive, stream, line, "its id is out of order")
            last = value[0]
            yield line, value

    def _living(self) -> Iterator[list[MemCube]]:
        """Yield the versions of each cube; none of them may have a tombstone in the same archive."""
        tombstones = self._rising("tombstones", _tombstone)
        buried = next(tombstones, None)
        for cube_id, group in groupby(_cubes(self._archive, self._source), key=lambda pair: pair[1].id):
            while buried is not None and buried[1][0] < cube_id:
                buried = next(tombstones, None)
            if buried is not None and buried[1][0] == cube_id:
                raise refused(self._archive, "tombstones", buried[0], "the erased cube is in the archive too")
            versions = []
            for _, cube in group:
                self._note(cube)
                versions.append(self._moved(cube))
            yield versions

    def _note(self, cube: MemCube) -> None:
        if cube.blob is not None:
            self._used.add(cube.blob)
        text = cube.text if cube.blob is None else None
        self._digest.add_version(header_to_json(cube.header), payload_to_json(cube.payload), text)

    def _moved(self, cube: MemCube) -> MemCube:
        target = self._loading.scope
        scope = replace(cube.header.scope, tenant=target.tenant, user=target.user)
        return MemCube(replace(cube.header, scope=scope), cube.payload)

    def _load(self, groups: list[list[MemCube]]) -> None:
        ids = [versions[0].id for versions in groups]
        erased, here = self._loading.erased(ids), self._loading.digests(ids)
        new = []
        for versions in groups:
            cube_id = versions[0].id
            if cube_id in erased:
                self._counts["erased"] += 1
            elif cube_id not in here:
                new.append(versions)
            elif here[cube_id] == [_digest(cube) for cube in versions]:
                self._counts["known"] += 1
            else:
                raise VersionConflictError(cube_id, len(versions), len(here[cube_id]))
        changes = self._changes(new)
        self._loading.apply(changes, triggered_by(changes))
        self._counts["cubes"] += len(new)
        self._counts["versions"] += len(changes)

    def _changes(self, groups: list[list[MemCube]]) -> list[Change]:
        """Return the changes that write all versions, first versions first; heads that are searched get terms."""
        heads = [versions[-1] for versions in groups if is_searched(versions[-1])]
        entries = {head.id: IndexEntry(pack(indexed_terms(head))) for head in heads}
        firsts: list[Change] = []
        further: list[Change] = []
        for versions in groups:
            before: MemCube | None = None
            for cube in versions:
                entry = entries.get(cube.id) if cube is versions[-1] else None
                (further if before else firsts).append(_kind(before, cube)(cube, entry))
                before = cube
        return firsts + further


def _kind(before: MemCube | None, cube: MemCube) -> type[Write]:
    """Return the change that the journal should name for a loaded version."""
    if before is None:
        return Create
    if cube.header.state is not before.header.state:
        return _KIND_OF_STATE.get(cube.header.state, Restore)
    if cube.header.invalid_at is not None and before.header.invalid_at is None:
        return Supersede
    return Restore if cube.header.method == "restore" else Update


def _digest(cube: MemCube) -> str:
    text = cube.text if cube.blob is None else None
    return digest_of(header_to_json(cube.header), payload_to_json(cube.payload), text)
