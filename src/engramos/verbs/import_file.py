"""import: read a file of conversations or documents into a memory."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engramos.errors import ImportFailedError
from engramos.importers import ROLE as IMPORTERS
from engramos.importers.base import Importer, detect
from engramos.messages import Document, Message, Problem
from engramos.scope import Scope
from engramos.verbs.add import AddOptions, add
from engramos.verbs.parts import Parts

BATCH = 256
"""Records a commit; fixed, because the keys that make an import repeatable count batches."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    format: str
    num_records: int
    num_cubes: int
    num_known: int
    """Records that an earlier import of the same file had stored."""
    problems: tuple[Problem, ...]
    """What was skipped, and why."""


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
    """Import a file; a second import of the same file adds nothing.

    Records are committed in batches, each whole, under a key made of the file's digest: an import that was killed goes
    on where it stopped when it is run again.

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
    if is_strict:
        for record in importer.read(path):
            if isinstance(record, Problem):
                raise ImportFailedError(str(path), record.position, record.problem)
    problems: list[Problem] = []
    good = _good(importer.read(path), problems)
    digest = _digest(path, importer, options)
    num_records = num_cubes = num_known = batch_number = 0
    while batch := list(islice(good, BATCH)):
        key = f"import:{digest}:{batch_number}"
        receipt = add(parts, batch, scope, options or AddOptions(origin="import"), idempotency_key=key)
        batch_number += 1
        num_records += len(batch)
        num_cubes += 0 if receipt.is_replay else len(receipt.applied)
        num_known += len(batch) if receipt.is_replay else 0
        progress(len(batch))
    name = next((name for name in IMPORTERS.names() if type(importer) is IMPORTERS.load(name)), "other")
    return Imported(name, num_records, num_cubes, num_known, tuple(problems))


def _good(records: Iterator[Message | Document | Problem], problems: list[Problem]) -> Iterator[Message | Document]:
    for record in records:
        if isinstance(record, Problem):
            problems.append(record)
        else:
            yield record


def _digest(path: Path, importer: Importer, options: AddOptions | None) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise ImportFailedError(str(path), "the file", f"cannot be read ({error}): check the path") from error
    digest.update(f"{importer!r}{options!r}".encode())
    return digest.hexdigest()[:40]
