"""Loading: what a load does within its one transaction."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engramos.changes import Change, JobSpec, Request
from engramos.scope import Scope
from engramos.vault.sqlite.apply import Commit, apply, bury
from engramos.vault.sqlite.sql import sql


@dataclass(slots=True)
class Loading:
    """One transaction of a load: changes are applied batch by batch, and become durable all together or not at all."""

    connection: Any
    scope: Scope
    request: Request
    memo: dict[Any, Any] = field(default_factory=dict)

    def _commit(self, jobs: Sequence[JobSpec] = ()) -> Commit:
        return Commit(self.connection, self.scope, self.request, jobs, self.memo)

    def _rows(self, name: str, **values: Any) -> Iterable[Any]:
        return self.connection.execute(sql(name), values | {"tenant": self.scope.tenant})

    def digests(self, cube_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the digests of all versions of those cubes that are here, by cube id, oldest first."""
        found: dict[str, list[str]] = {}
        for cube_id, digest in self._rows("digests_of_cubes", cube_ids=json.dumps(list(cube_ids))):
            found.setdefault(cube_id, []).append(digest)
        return found

    def erased(self, cube_ids: Sequence[str]) -> set[str]:
        """Return those of the ids that were erased here."""
        return {row[0] for row in self._rows("erased_ids", cube_ids=json.dumps(list(cube_ids)))}

    def apply(self, changes: Sequence[Change], jobs: Sequence[JobSpec]) -> None:
        """Apply one batch of changes; see `vault.commit` for the errors."""
        apply(self._commit(jobs), changes)

    def bury(self, tombstones: Sequence[tuple[str, int, int]]) -> None:
        """Store tombstones (id, time of erasure in microseconds, number of versions) of cubes unknown here."""
        ids = [cube_id for cube_id, _, _ in tombstones]
        known = self.digests(ids).keys() | self.erased(ids)
        bury(self._commit(), [one for one in tombstones if one[0] not in known])

    def set_usage(self, rows: Sequence[tuple[str, int, int, float]]) -> None:
        """Store id, uses, last use and strength of the user's cubes that have no use here yet."""
        for cube_id, uses, last_used_us, strength in rows:
            values = {"uses": uses, "last_used_us": last_used_us, "strength": strength}
            self._rows("set_usage", cube_id=cube_id, user=self.scope.user, **values)
