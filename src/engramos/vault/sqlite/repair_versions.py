"""Bringing back versions that the journal sealed and that are damaged, displaced or gone."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from engramos.clock import to_us
from engramos.cube import MemCube
from engramos.vault.sqlite import records
from engramos.vault.sqlite.audit import Audit, damaged, read_sound
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.vault import FILE_NAME, SqliteVault
from engramos.vault.sqlite.verify_cubes import read_version

MAX_AT_ONCE = 1_000


class Sealed(NamedTuple):
    """What the journal says of a version: where it stands, and the seal that proves it."""

    cube_id: str
    version: int
    seq: int
    seal: bytes


def restore(vault: SqliteVault, tenant: str, source: Path | None) -> None:
    """Write every version anew that the journal sealed and that is not here as it was.

    Its bytes come from the damaged row itself, where only its columns suffered, from a displaced row, or from the
    backup; what none of them has stays as it is.
    """
    tried: set[tuple[str, int]] = set()
    while True:
        with damaged(vault) as connection:
            connection.execute("BEGIN")
            audit = Audit(connection, tenant, Counter())
            wanted = list(islice((one for one in _wanted(audit) if one[:2] not in tried), MAX_AT_ONCE))
            if not wanted:
                return
            tried.update(one[:2] for one in wanted)
            rows, strays = _found_here(audit, {one[:2]: one for one in wanted})
        if source is not None:
            with damaged(vault, source / FILE_NAME) as backup:
                for one in wanted:
                    if one[:2] not in rows and (row := _from_backup(Audit(backup, tenant, Counter()), one)):
                        rows[one[:2]] = row
        _write(vault, tenant, rows, strays)


def _wanted(audit: Audit) -> Iterator[Sealed]:
    for seq, cube_id, version, seal in audit.rows("journal_without_version"):
        yield Sealed(cube_id, version, seq, seal)
    for row in audit.rows("verify_versions"):
        _, problems = read_version(audit, row)
        if problems and row[12:14] == (row[0], row[1]):
            yield Sealed(row[0], row[1], row[10], row[15])


def _found_here(audit: Audit, wanted: dict[Any, Sealed]) -> tuple[dict[Any, dict], dict[Any, tuple[str, int]]]:
    """Return rows for wanted versions that are sound here, and where displaced ones stand now."""
    rows: dict[Any, dict] = {}
    strays: dict[Any, tuple[str, int]] = {}
    for row in audit.rows("verify_versions"):
        cube, problems = read_version(audit, row)
        if cube is None or not problems:
            continue
        sealed = wanted.get((cube.id, cube.version))
        if sealed is not None and _is_sealed(sealed, row[9], row[7]):
            rows[sealed[:2]] = _row(cube, sealed, salt=row[9], cube_key=row[2])
        if (row[0], row[1]) != (cube.id, cube.version):
            strays[cube.id, cube.version] = (row[0], row[1])
    return rows, strays


def _from_backup(audit: Audit, sealed: Sealed) -> dict | None:
    saved = audit.one("saved_version", cube_id=sealed.cube_id, version=sealed.version)
    if saved is None or not _is_sealed(sealed, saved[4], saved[3]):
        return None
    cube = read_sound(*saved[:4])
    return None if cube is None else _row(cube, sealed, salt=saved[4], cube_key=saved[5])


def _is_sealed(sealed: Sealed, salt: Any, digest: str) -> bool:
    return isinstance(salt, bytes) and records.seal_of(salt, digest) == sealed.seal


def _row(cube: MemCube, sealed: Sealed, *, salt: bytes, cube_key: int) -> dict[str, Any]:
    row = records.version_row(cube, cube_key)
    return row | {"salt": salt, "seq": sealed.seq, "created_us": to_us(cube.header.created_at)}


def _write(vault: SqliteVault, tenant: str, rows: dict[Any, dict], strays: dict[Any, tuple[str, int]]) -> None:
    def work(connection: Any) -> None:
        for key, row in rows.items():
            known = next(iter(connection.execute(sql("cube_key_of"), {"tenant": tenant, "cube_id": key[0]})), None)
            if known is not None:
                row["cube_key"] = known[0]
            connection.execute(sql("replace_version"), row)
            if key in strays:
                values = {"tenant": tenant, "cube_id": strays[key][0], "version": strays[key][1]}
                connection.execute(sql("erase_version"), values)

    if rows:
        vault.write(work)
