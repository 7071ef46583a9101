"""Checks of versions, of the rows that are derived from them, and of the lineage."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from engramos.changes import WRITES
from engramos.clock import now_us, to_us
from engramos.cube import MemCube
from engramos.rows import Finding
from engramos.vault.sqlite import records
from engramos.vault.sqlite.audit import UNREADABLE, Audit, is_text, read_sound

COLUMNS = (
    *("tenant", "user", "cube_id", "agent", "session", "form", "type", "state", "version", "created_us", "valid_us"),
    *("invalid_us", "expires_us", "is_held", "trust", "speaker", "position", "labels", "source_ref", "cube_key"),
    *("terms", "checksum"),
)
"""Columns of table cubes in the order of the statement `cube_by_key`."""
DAY_US = 86_400_000_000
MAX_WAITING = 1_000


def check_cubes(audit: Audit) -> Iterator[Finding]:
    """Yield what is wrong with versions and with the rows that searches and lists read of them."""
    for cube_id, group in groupby(audit.rows("verify_versions"), key=itemgetter(0)):
        yield from _check_cube(audit, cube_id, group)
    for cube_key, cube_id in audit.rows("cubes_without_version"):
        yield Finding("index", f"{cube_id} of {audit.tenant}", f"row {cube_key} among the cubes has no versions")
    audit.counts["cubes"] += audit.one("count_cubes")[0]


def _check_cube(audit: Audit, cube_id: Any, group: Iterable[Any]) -> Iterator[Finding]:
    head, keys = None, set()
    for expected, row in enumerate(group, start=1):
        audit.counts["versions"] += 1
        cube, problems = read_version(audit, row)
        if row[1] != expected:
            problems.append(f"version {expected} should stand here: its numbers have a gap")
        if problems:
            yield Finding("version", f"{cube_id} version {row[1]} of {audit.tenant}", "; ".join(problems))
        if cube is not None:
            yield from _check_edges_of(audit, cube)
        head = cube
        keys.add(row[2])
    which = f"{cube_id} of {audit.tenant}"
    if len(keys) > 1:
        yield Finding("index", which, "its versions name different rows among the cubes")
    elif head is not None and (problem := index_problem(audit, head, next(iter(keys)))):
        yield Finding("index", which, problem)


def read_version(audit: Audit, row: Any) -> tuple[MemCube | None, list[str]]:
    """Return the cube of a version's row, or None where it is damaged, and what is wrong with the row."""
    cube_id, version, _, created_us, header, payload, text, digest, blob, salt, _, *journal = row
    kind, j_cube_id, j_version, j_user, seal = journal
    problems = []
    if kind is None:
        problems.append("it has no journal row")
    elif kind not in WRITES or (j_cube_id, j_version) != (cube_id, version):
        problems.append("its journal row speaks of something else")
    if not isinstance(salt, bytes) or not is_text(digest) or records.seal_of(salt, digest) != seal:
        problems.append("it is not the version that the journal sealed")
    cube = read_sound(header, payload, text, digest)
    if cube is None:
        return None, [*problems, "its bytes are not those of its digest"]
    found = (cube.id, cube.version, cube.header.scope.tenant, to_us(cube.header.created_at), cube.blob)
    if found != (cube_id, version, audit.tenant, created_us, blob):
        problems.append("its columns are not what its header says")
    if kind is not None and cube.header.scope.user != j_user:
        problems.append("its journal row names another user")
    return cube, problems


def index_problem(audit: Audit, head: MemCube, cube_key: Any) -> str:
    """Return what is wrong with the row of table cubes that stands for a cube's newest version; empty if nothing."""
    row = audit.one("cube_by_key", cube_key=cube_key)
    if row is None:
        return "it has no row among the cubes"
    found = dict(zip(COLUMNS, row, strict=True))
    terms = found["terms"]
    if terms is not None and not records.is_searched(head):
        return "it has terms and is not searched"
    if terms is None and records.is_searched(head):
        return "it is searched and has no terms"
    if not isinstance(terms, bytes | None):
        return "its terms are no bytes"
    wrong = [
        name for name, value in records.cube_row(head, cube_key, terms).items() if not _is_same(value, found[name])
    ]
    return f"the row among the cubes is wrong in {', '.join(wrong)}" if wrong else ""


def _is_same(value: Any, found: Any) -> bool:
    """Return whether two values are the same to the bit: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    is_equal = type(value) is type(found) and value == found
    return is_equal and (not isinstance(value, float) or repr(value) == repr(found))


def wanted_edges(audit: Audit, cube: MemCube) -> set[tuple[str, str, int]]:
    """Return the edges that a version should have: those of its header but to what was erased."""
    edges = {(edge.relation.value, edge.cube_id, edge.version) for edge in cube.header.parents}
    ids = json.dumps(sorted({cube_id for _, cube_id, _ in edges}))
    erased = {row[0] for row in audit.rows("erased_ids", cube_ids=ids)}
    return {edge for edge in edges if edge[1] not in erased}


def _check_edges_of(audit: Audit, cube: MemCube) -> Iterator[Finding]:
    if not cube.header.parents:
        return
    found = {tuple(row) for row in audit.rows("edges_of_version", cube_id=cube.id, version=cube.version)}
    for relation, parent_id, version in sorted(wanted_edges(audit, cube) - found):
        which = f"{cube.id} version {cube.version} of {audit.tenant}"
        yield Finding("lineage", which, f"its edge {relation} {parent_id} version {version} is missing")


def check_lineage(audit: Audit) -> Iterator[Finding]:
    """Yield edges that no header names, and edges to parents that were here and are gone."""
    waiting: dict[str, str] = {}
    for row in audit.rows("verify_edges"):
        audit.counts["edges"] += 1
        relation, parent_id, parent_version, child_id, child_version, header, is_there, is_erased = row
        which = f"{child_id} version {child_version} of {audit.tenant}"
        edge = f"{relation} {parent_id} version {parent_version}"
        if not names_edge(header, [relation, parent_id, parent_version]):
            yield Finding("lineage", which, f"no header names its edge {edge}")
        elif is_erased:
            yield Finding("lineage", which, f"its edge {edge} leads to what was erased")
        elif not is_there:
            waiting[parent_id] = which
        if len(waiting) >= MAX_WAITING:
            yield from _dangling(audit, waiting)
            waiting.clear()
    yield from _dangling(audit, waiting)


def names_edge(header: Any, edge: list[Any]) -> bool:
    """Return whether a header, as it is stored, names an edge."""
    try:
        return edge in json.loads(header).get("parents", [])
    except UNREADABLE:
        return False


def _dangling(audit: Audit, waiting: dict[str, str]) -> Iterator[Finding]:
    """Yield edges to parents that this vault had; those it never had belong to another memory, and may lead there."""
    known = audit.rows("known_to_journal", cube_ids=json.dumps(sorted(waiting))) if waiting else ()
    for (parent_id,) in known:
        yield Finding("lineage", waiting[parent_id], f"its parent {parent_id} is not here")


def check_vectors(audit: Audit, embedders: dict[int, bool], is_complete: bool) -> Iterator[Finding]:
    """Yield vectors that are damaged or belong to nothing, and searched cubes that lack theirs.

    Args:
        audit: of the tenant.
        embedders: which embedder is the current one, by key.
        is_complete: whether every searched cube must have a vector of the current embedder.
    """
    widths: dict[int, int] = {}
    for embedder_key, cube_key, vector, checksum, cube_id, is_searched in audit.rows("verify_vectors"):
        audit.counts["vectors"] += 1
        which = f"{cube_id or f'row {cube_key}'} of {audit.tenant}"
        if embedder_key not in embedders:
            yield Finding("vector", which, f"embedder {embedder_key} is unknown")
        if not is_searched:
            yield Finding("vector", which, "it belongs to no searched cube")
        if not records.is_sound_vector(vector, checksum):
            yield Finding("vector", which, "its bytes are not those of its checksum")
        elif widths.setdefault(embedder_key, len(vector)) != len(vector):
            yield Finding("vector", which, "it is not as long as the others")
    current = next((key for key, is_current in embedders.items() if is_current), None)
    if is_complete and current is not None:
        for cube_id, _ in audit.rows("searched_without_vector", embedder_key=current):
            yield Finding("vector", f"{cube_id} of {audit.tenant}", "it has no vector of the current embedder")


def check_usage(audit: Audit) -> Iterator[Finding]:
    """Yield uses of unknown cubes, and numbers that cannot be; uses have no checksum."""
    for cube_id, uses, last_used_us, strength, is_there in audit.rows("verify_usage"):
        audit.counts["usage"] += 1
        is_possible = isinstance(uses, int) and uses >= 0 and isinstance(strength, float) and 0.0 <= strength <= 1.0
        is_possible = is_possible and isinstance(last_used_us, int) and 0 <= last_used_us <= now_us() + DAY_US
        if not is_possible or not is_there:
            problem = "no such cube is here" if is_possible else "its numbers cannot be"
            yield Finding("usage", f"{cube_id} of {audit.tenant}", problem)


def check_jobs(audit: Audit) -> Iterator[Finding]:
    """Yield jobs that gave up, and jobs that cannot be read."""
    for job_key, queue, parameters, state, attempts, last_error in audit.rows("verify_jobs"):
        audit.counts["jobs"] += 1
        which = f"{job_key} ({queue}) of {audit.tenant}"
        try:
            is_whole = isinstance(json.loads(parameters), dict) and state in ("queued", "leased", "dead")
        except UNREADABLE:
            is_whole = False
        if not is_whole:
            yield Finding("job", which, "it cannot be read")
        elif state == "dead":
            yield Finding("job", which, f"it gave up after {attempts} attempts: {last_error}")
