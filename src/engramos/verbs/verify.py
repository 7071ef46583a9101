"""verify: is everything still what was written?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from engramos.changes import IndexEntry
from engramos.cube import MemCube
from engramos.rows import Finding
from engramos.vault.sqlite.repair import repair as _repair
from engramos.vault.sqlite.verify import Verified, verify_vault
from engramos.verbs.parts import Parts
from engramos.verbs.reembed import reembed


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, and what was found wrong."""

    findings: tuple[Finding, ...]
    num_checked: Mapping[str, int]
    """How many rows or files of each sort: versions, cubes, journal, edges, vectors, texts, blobs, ..."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or everything that was is repaired."""
        return all(finding.is_repaired for finding in self.findings)


def verify(parts: Parts, *, repair: bool = False, repair_from: Path | None = None) -> VerifyReport:
    """Check everything in the memory's folder, of all tenants, and return what is wrong.

    Checked are the file's structure, the journal's chain, each version against its digest and against the seal in the
    journal, the rows that searches and lists read, the full-text index, vectors, lineage, tombstones, and blobs.
    Counts of uses, jobs and the list of backups have no second source: they are checked for being possible. Whoever can
    write the file can also make a whole journal anew; against that, keep the hash of its last row elsewhere.

    Args:
        parts: of the open memory.
        repair: make what is derived anew; a journal is never repaired.
        repair_from: the folder of a backup, for damaged versions and blobs; it implies `repair`.

    Raises:
        InvalidInputError: if `repair_from` holds no backup.
        StoreError: if the file cannot be opened, or not be written.
    """
    found = _check(parts)
    if not found.findings or not (repair or repair_from is not None):
        return VerifyReport(found.findings, MappingProxyType(dict(found.counts)))
    _repair(parts.vault, lambda cubes: _entries(parts, cubes), found.findings, repair_from)
    left = _check(parts)
    if parts.embedder is not None and any(finding.what == "vector" for finding in left.findings):
        reembed(parts)
        left = _check(parts)
    with parts.lock:
        # an index in memory was read from the rows that were wrong
        parts.indexes.clear()
    repaired = [replace(one, is_repaired=True) for one in found.findings if one not in left.findings]
    return VerifyReport((*left.findings, *repaired), MappingProxyType(dict(left.counts)))


def _check(parts: Parts) -> Verified:
    embedder = parts.embedder
    return verify_vault(parts.vault, None if embedder is None else embedder.fingerprint)


def _entries(parts: Parts, cubes: Sequence[MemCube]) -> list[IndexEntry]:
    entries: list[IndexEntry] = []
    for start in range(0, len(cubes), parts.settings.batch):
        entries.extend(parts.entries(cubes[start : start + parts.settings.batch]))
    return entries
