"""Repairing a vault: what is derived is made again, damaged versions and blobs come out of a backup.

The journal is the measure and is never repaired: a version is taken, from here or from the backup, only if the journal
sealed exactly it. All writes go through the writer, a batch a transaction.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from engramos.changes import IndexEntry
from engramos.cube import MemCube
from engramos.errors import InvalidInputError, StoreError, translate
from engramos.rows import Finding
from engramos.vault.sqlite import records, repair_blobs, repair_versions
from engramos.vault.sqlite.audit import Audit, damaged, is_text
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.vault import FILE_NAME, SqliteVault
from engramos.vault.sqlite.verify_cubes import index_problem, names_edge, read_version, wanted_edges
from engramos.vault.sqlite.verify_text import plain_text, prepare

BATCH = 500
EntriesOf = Callable[[Sequence[MemCube]], Sequence[IndexEntry]]


def repair(vault: SqliteVault, entries_of: EntriesOf, findings: Sequence[Finding], source: Path | None) -> None:
    """Repair what was found, as far as it can be; verify again to see what is left.

    Args:
        vault: the vault.
        entries_of: makes index entries of plaintext cubes.
        findings: what `verify_vault` found.
        source: the folder of a backup; None where there is none.

    Raises:
        InvalidInputError: if the folder holds no backup.
        StoreError: if the database fails.
    """
    if source is not None and not (source / FILE_NAME).is_file():
        raise InvalidInputError(f"{source} holds no {FILE_NAME}: give the folder that 'engramos backup' wrote")
    table = {**vault.errors, UnicodeDecodeError: StoreError}
    with translate(table, f"repairing {vault.path}", next_step="try again with the setting driver = 'sqlite3'"):
        _repair_all(vault, entries_of, {finding.what for finding in findings}, source)


def _repair_all(vault: SqliteVault, entries_of: EntriesOf, kinds: set[str], source: Path | None) -> None:
    for tenant in _tenants(vault):
        if kinds & {"version", "index"}:
            repair_versions.restore(vault, tenant, source)
        if kinds & {"version", "index", "text_index"}:
            _mend_cubes(vault, tenant, entries_of)
        if kinds & {"version", "lineage"}:
            _mend_lineage(vault, tenant)
        if kinds & {"version", "index", "vector"}:
            _drop_bad_vectors(vault, tenant)
        if "usage" in kinds:
            _drop_unknown_usage(vault, tenant)
        if kinds & {"version", "blob"}:
            repair_blobs.restore(vault, tenant, source)
    if "blob" in kinds:
        repair_blobs.drop_leftovers(vault)
    if kinds & {"version", "index", "text_index"}:
        _rebuild_text_index(vault)


def _tenants(vault: SqliteVault) -> list[str]:
    with damaged(vault) as connection:
        rows = [row[0] for row in connection.execute(sql("tenants_in_rows"))]
    return [tenant for tenant in rows if is_text(tenant)]


def _batches(vault: SqliteVault, tenant: str, items: Callable[[Audit], Iterator[Any]]) -> Iterator[list[Any]]:
    """Yield what a scan of one state finds, in batches; writes between them do not disturb it."""
    with damaged(vault) as connection:
        connection.execute("BEGIN")
        found = items(Audit(connection, tenant, Counter()))
        while batch := list(islice(found, BATCH)):
            yield batch


def _broken_heads(audit: Audit) -> Iterator[MemCube]:
    for _, group in groupby(audit.rows("verify_versions"), key=itemgetter(0)):
        head, keys = None, set()
        for row in group:
            head, _ = read_version(audit, row)
            keys.add(row[2])
        if head is not None and (len(keys) > 1 or index_problem(audit, head, next(iter(keys)))):
            yield head


def _mend_cubes(vault: SqliteVault, tenant: str, entries_of: EntriesOf) -> None:
    """Write the rows of table cubes anew where they are not what the newest versions say."""
    for heads in _batches(vault, tenant, _broken_heads):
        searched = [head for head in heads if records.is_searched(head)]
        entries = dict(zip((head.id for head in searched), entries_of(searched) if searched else (), strict=True))

        def work(connection: Any, heads: list = heads, entries: dict = entries) -> None:
            for head in heads:
                entry = entries.get(head.id)
                _write_head(Audit(connection, tenant, Counter()), head, entry.terms if entry else None)

        vault.write(work)
    for strays in _batches(vault, tenant, lambda audit: audit.rows("cubes_without_version")):

        def drop(connection: Any, strays: list = strays) -> None:
            for cube_key, _ in strays:
                for name in ("drop_vectors", "erase_cube"):
                    connection.execute(sql(name), {"tenant": tenant, "cube_key": cube_key})

        vault.write(drop)


def _write_head(audit: Audit, head: MemCube, terms: bytes | None) -> None:
    newest = audit.one("newest_version", cube_id=head.id)
    if newest is None or newest[0] != head.version:
        return  # it moved on meanwhile, and its row with it
    known = audit.one("cube_key_of", cube_id=head.id)
    if known is not None:
        row = records.cube_row(head, known[0], terms)
        audit.connection.execute(sql("change_cube"), row)
    else:
        last = next(iter(audit.connection.execute(sql("last_cube_key"))), (0,))[0]
        row = records.cube_row(head, last + 1, terms)
        audit.connection.execute(sql("create_cube"), row)
    audit.rows("set_cube_key", cube_id=head.id, cube_key=row["cube_key"])


def _mend_lineage(vault: SqliteVault, tenant: str) -> None:
    """Add the edges that headers name, and drop those that none names or that lead to what was erased."""

    def missing(audit: Audit) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in audit.rows("verify_versions"):
            cube, _ = read_version(audit, row)
            if cube is None or not cube.header.parents:
                continue
            child = {"child_id": cube.id, "child_version": cube.version}
            for relation, parent_id, version in sorted(wanted_edges(audit, cube)):
                yield "add_edge", child | {"relation": relation, "parent_id": parent_id, "parent_version": version}

    def needless(audit: Audit) -> Iterator[tuple[str, dict[str, Any]]]:
        for relation, parent_id, parent_version, child_id, child_version, header, _, is_erased in audit.rows(
            "verify_edges"
        ):
            if is_erased or not names_edge(header, [relation, parent_id, parent_version]):
                edge = {"relation": relation, "parent_id": parent_id, "parent_version": parent_version}
                yield "erase_edge", edge | {"child_id": child_id, "child_version": child_version}

    for scan in (missing, needless):
        _run(vault, tenant, scan)


def _drop_bad_vectors(vault: SqliteVault, tenant: str) -> None:
    """Drop vectors that are damaged or belong to nothing; those that are missed are made by the caller."""

    def bad(audit: Audit) -> Iterator[tuple[str, dict[str, Any]]]:
        known = {row[0] for row in audit.connection.execute(sql("embedders"))}
        widths = Counter((row[0], len(row[2])) for row in audit.rows("verify_vectors") if isinstance(row[2], bytes))
        usual = {key: max((n, width) for (of, width), n in widths.items() if of == key)[1] for key, _ in widths}
        for embedder_key, cube_key, vector, checksum, _, is_searched in audit.rows("verify_vectors"):
            is_sound = embedder_key in known and is_searched and records.is_sound_vector(vector, checksum)
            if not is_sound or len(vector) != usual[embedder_key]:
                yield "drop_vector", {"embedder_key": embedder_key, "cube_key": cube_key}

    _run(vault, tenant, bad)


def _drop_unknown_usage(vault: SqliteVault, tenant: str) -> None:
    def unknown(audit: Audit) -> Iterator[tuple[str, dict[str, Any]]]:
        for cube_id, *_, is_there in audit.rows("verify_usage"):
            if not is_there:
                yield "erase_usage", {"cube_id": cube_id}

    _run(vault, tenant, unknown)


def _run(vault: SqliteVault, tenant: str, scan: Callable[[Audit], Iterator[tuple[str, dict[str, Any]]]]) -> None:
    """Run the statements that a scan names."""
    for batch in _batches(vault, tenant, scan):

        def work(connection: Any, batch: list = batch) -> None:
            for name, values in batch:
                if all(is_text(value) for value in values.values() if isinstance(value, str)):
                    connection.execute(sql(name), values | {"tenant": tenant})

        vault.write(work)


def _rebuild_text_index(vault: SqliteVault) -> None:
    """Make the full-text index anew in one transaction, so that no reader sees half of it."""
    with damaged(vault) as connection:
        prepare(connection)
        settings = [{"k": k, "v": v} for k, v in connection.execute(sql("expected_config"))]

    def work(connection: Any) -> None:
        connection.execute(sql("clear_text_config"))
        for setting in settings:
            connection.execute(sql("mend_text_config"), setting)
        connection.execute(sql("clear_text_index"))
        for (tenant,) in list(connection.execute(sql("tenants"))):
            for cube_key, text, user in connection.execute(sql("searched_texts"), {"tenant": tenant}):
                owner = records.owner_token(tenant, user)
                connection.execute(sql("put_text"), {"cube_key": cube_key, "text": plain_text(text), "owner": owner})

    vault.write(work)
