"""Snapshot: all of a user's memory in one consistent state, streamed."""

from collections.abc import Iterator
from typing import Any

from engramos.cube import MemCube
from engramos.scope import Scope
from engramos.vault.sqlite import records
from engramos.vault.sqlite.sql import sql


class Snapshot:
    """Reads of one state of the file; others write meanwhile. One row is in memory at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def _rows(self, name: str, scope: Scope) -> Iterator[Any]:
        return iter(self._connection.execute(sql(name), {"tenant": scope.tenant, "user": scope.user}))

    def versions(self, scope: Scope) -> Iterator[tuple[MemCube, str, str, str | None]]:
        """Yield all versions by cube id and version, each with its header, payload and text as they are stored.

        Raises:
            CorruptPayloadError: at a version that is not what was written.
        """
        for row in self._rows("dump_versions", scope):
            yield records.read_cube(row, f"a version of {scope}"), row[0], row[1], row[2]

    def tombstones(self, scope: Scope) -> Iterator[tuple[str, int, int]]:
        """Yield id, time of erasure in microseconds and number of versions of erased cubes, by id."""
        yield from self._rows("dump_tombstones", scope)

    def journal(self, scope: Scope) -> Iterator[dict[str, Any]]:
        """Yield the rows of the tenant's journal that concern the user; seal and hash in hexadecimal."""
        names = ("seq", "at_us", "kind", "cube_id", "version", "actor", "request_id", "reason", "seal", "hash")
        for row in self._rows("dump_journal", scope):
            table = dict(zip(names, row, strict=True))
            yield table | {"seal": table["seal"].hex(), "hash": table["hash"].hex()}

    def usage(self, scope: Scope) -> Iterator[tuple[str, int, int, float]]:
        """Yield id, uses, time of the last use in microseconds and strength of cubes, by id."""
        yield from self._rows("dump_usage", scope)

    def place(self, scope: Scope) -> int:
        """Return the place in the journal of the last change to the user's cubes; 0 before the first."""
        return next((seq for seq, _ in self._rows("scope_head", scope)), 0)

    def activations(self, scope: Scope) -> Iterator[tuple[str, int]]:
        """Yield id and newest version of the user's, or agent's, activation cubes that may be used, by id."""
        values = {"tenant": scope.tenant, "user": scope.user, "agent": scope.agent}
        yield from self._connection.execute(sql("activations"), values)
