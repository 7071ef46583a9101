"""import: read a file of conversations or documents into a memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engramos.changes import Create
from engramos.cube import MemCube
from engramos.errors import ImportFailedError
from engramos.importers import ROLE as IMPORTERS
from engramos.importers.base import Importer, detect
from engramos.messages import Document, Message, Problem
from engramos.scope import Scope
from engramos.verbs.add import AddOptions, body_digest, cubes_of, with_places
from engramos.verbs.parts import Parts, with_entries

BATCH = 256
"""Most records of a commit; fixed, because the keys that make an import repeatable count batches."""
BATCH_CHARACTERS = 4_000_000
"""A batch ends with the record that reaches this."""
MAX_PROBLEMS = 1_000
"""So many problems are told one by one."""

Record = Message | Document


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    format: str
    num_records: int
    """Records that could be read."""
    num_cubes: int
    """Cubes that were stored now."""
    num_known: int
    """Records that an earlier import, or this one, had stored before."""
    problems: tuple[Problem, ...]
    """What was skipped, and why; the first 1,000."""
    num_problems: int = 0
    """How many were skipped."""


@dataclass(slots=True)
class _Reading:
    """The good records of a file; what was wrong with the others."""

    records: Iterator[Message | Document | Problem]
    problems: list[Problem] = field(default_factory=list)
    num_problems: int = 0

    def batches(self) -> Iterator[list[Record]]:
        batch: list[Record] = []
        num_characters = 0
        for record in self.records:
            if isinstance(record, Problem):
                self.num_problems += 1
                if self.num_problems <= MAX_PROBLEMS:
                    self.problems.append(record)
                continue
            batch.append(record)
            num_characters += len(record.text)
            if len(batch) == BATCH or num_characters >= BATCH_CHARACTERS:
                yield batch
                batch, num_characters = [], 0
        if batch:
            yield batch


def import_file(
    parts: Parts,
    path: Path,
    scope: Scope,
    options: AddOptions | None = None,
    *,
    importer: Importer | None = None,
    is_strict: bool = False,
    progress: Callable[[int], None] = lambda num: None,
) -> Imported:
    """Import a file; a second import of the same file adds nothing, one of a newer export only what is new.

    Records are committed in batches, each whole, under a key made of the file's digest: an import that was killed goes
    on where it stopped when it is run again. In a changed file, a message whose id, session and text some version of a
    stored cube came with is known, and so is a passage of a document at the same place with the same text; records
    without an id are stored again. A message that was edited since is stored beside the earlier one, and what was
    erased comes back if the file still holds it.

    Args:
        parts: of the open memory.
        path: the file.
        scope: whose the cubes are.
        options: what holds for all records.
        importer: the format; found from the content where None.
        is_strict: refuse the whole file for one bad record, before anything is stored.
        progress: called with the number of records of each batch.

    Raises:
        ImportFailedError: if the file cannot be read or no format fits; in strict mode, for the first bad record.
        InvalidInputError: if the options do not fit.
    """
    path = Path(path)
    importer = importer or detect(path)
    options = replace(options or AddOptions(), origin="import")
    if is_strict:
        _refuse_problems(importer, path)
    digest = _digest(path, importer, scope)
    reading = _Reading(importer.read(path))
    places: dict[str | None, int] = {}
    num_records = num_cubes = num_known = 0
    for number, batch in enumerate(reading.batches()):
        cubes = [list(cubes_of(placed, scope, options)) for placed in with_places(batch, places)]
        body = body_digest(batch, options)
        stored, known = _store(parts, cubes, scope, f"import:{digest}:{number}:{body[:20]}", body)
        num_records += len(batch)
        num_cubes += stored
        num_known += known
        progress(len(batch))
    name = next((name for name in IMPORTERS.names() if type(importer) is IMPORTERS.load(name)), "other")
    return Imported(name, num_records, num_cubes, num_known, tuple(reading.problems), reading.num_problems)


def _refuse_problems(importer: Importer, path: Path) -> None:
    for record in importer.read(path):
        if isinstance(record, Problem):
            raise ImportFailedError(str(path), record.position, record.problem)


def _store(parts: Parts, cubes: list[list[MemCube]], scope: Scope, key: str, body: str) -> tuple[int, int]:
    """Store the cubes of a batch of records; return how many cubes were stored and how many records were known."""
    if parts.vault.known_receipt(scope, key, body) is not None:
        return 0, len(cubes)
    refs = {cube.header.source.ref for several in cubes for cube in several} - {""}
    known = parts.vault.known_texts(scope, sorted(refs)) if refs else set()
    new = [list(_unknown(several, known)) for several in cubes]
    changes = with_entries(parts, Create, [cube for several in new for cube in several])
    receipt = parts.commit(changes, scope, idempotency_key=key, body_digest=body, reason="import")
    if receipt.is_replay:
        return 0, len(cubes)
    return len(changes), sum(not several for several in new)


def _unknown(cubes: Iterable[MemCube], known: set[tuple[str, str | None, str]]) -> Iterator[MemCube]:
    """Yield the cubes that no stored one equals in id, session and text, and note them as known."""
    for cube in cubes:
        ref, same = cube.header.source.ref, (cube.header.source.ref, cube.header.scope.session, cube.text)
        if not ref or same not in known:
            known.add(same)
            yield cube


def _digest(path: Path, importer: Importer, scope: Scope) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise ImportFailedError(str(path), "the file", f"cannot be read ({error}): check the path") from error
    # keys are a user's; an agent's import of the same file is another
    digest.update(repr((importer, scope.agent, scope.session)).encode())
    return digest.hexdigest()[:40]
