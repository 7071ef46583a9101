"""SqliteVault: a memory's folder with one SQLite file and its blobs."""

import json
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from engramos.changes import Change, JobSpec, Receipt, Request
from engramos.clock import from_us, now_us, to_us
from engramos.cube import Edge, MemCube, Relation, Usage
from engramos.errors import EngramosError, StoreError, translate
from engramos.rows import Filter, IndexDelta, IndexRow, JournalRow, LeasedJob, Tombstone
from engramos.scope import Scope
from engramos.vault.ann_cache import tenant_folder
from engramos.vault.blobs import BlobStore
from engramos.vault.durable import make_folder
from engramos.vault.sqlite import records, schema
from engramos.vault.sqlite.apply import Commit, apply, replay
from engramos.vault.sqlite.backup import copy
from engramos.vault.sqlite.connection import connect, error_table, reading_errors
from engramos.vault.sqlite.scrub import Scrubbed, scrub
from engramos.vault.sqlite.snapshot import Snapshot
from engramos.vault.sqlite.sql import sql
from engramos.vault.sqlite.switch import switch
from engramos.vault.sqlite.values import filter_values, journal_row, match_in, refuse_unread
from engramos.vault.sqlite.writer import Writer

FILE_NAME = "vault.db"
MAX_DELTA = 2_000
"""Above so many changed cubes, reading the whole index is quicker than reading the changes."""


class SqliteVault:
    """Cubes, versions, lineage, journal, jobs and indexes; every verb's reads, and the one way to write.

    Several threads and several processes may use the same folder at once: readers never wait, writers queue.
    """

    def __init__(
        self, folder: Path, *, durability: str = "full", driver: str = "sqlite3", vfs: str | None = None
    ) -> None:
        """Open the vault in `folder`; make it where it is missing.

        Raises:
            ForeignStoreError: if the folder holds a file of something else, or a damaged one.
            NewerSchemaError: if a newer engramos wrote it.
            StoreError: if the folder cannot be written.
        """
        self.folder = folder
        self.path = folder / FILE_NAME
        failures = {OSError: StoreError, ValueError: StoreError}
        with translate(failures, f"making {str(folder)!r}", next_step="choose a folder that is writable"):
            make_folder(folder)
        if vfs is None:
            schema.prepare(self.path)
        self.errors = error_table(driver)
        self.connect = partial(connect, driver=driver, durability=durability, vfs=vfs)
        self._readers: queue.LifoQueue = queue.LifoQueue()
        self._writer = Writer(partial(self.connect, self.path), self.errors)
        self.write = self._writer.run
        """Runs `work(connection)` in the writer's transaction: for load and repair, which stand beside this file."""
        self.blobs = BlobStore(folder / "blobs")
        self.is_closed = False

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self.is_closed = True
        self._writer.close()
        while not self._readers.empty():
            self._readers.get().close()

    @contextmanager
    def _reading(self, what: str) -> Iterator[Any]:
        """Lend a connection that sees one consistent state."""
        if self.is_closed:
            raise StoreError("this memory is closed: open it again")
        try:
            connection = self._readers.get(block=False)
        except queue.Empty:
            connection = self.connect(self.path)
        try:
            with reading_errors(self.errors, what):
                connection.execute("BEGIN")
                yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if self.is_closed:
                connection.close()
            else:
                self._readers.put(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Lend a reader of one consistent state, for as long as it takes, while others write."""
        with self._reading("reading a snapshot") as connection:
            yield Snapshot(connection)

    def _rows(self, name: str, **values: Any) -> list[Any]:
        with self._reading(f"reading ({name})") as connection:
            return list(connection.execute(sql(name), values))

    def commit(
        self,
        changes: Sequence[Change],
        *,
        scope: Scope,
        request: Request,
        jobs: Sequence[JobSpec] = (),
        dry_run: bool = False,
    ) -> Receipt:
        """Apply changes: all of them durably, or none; the only way to write cubes.

        One transaction checks the versions that the changes saw, writes one journal row a change, keeps the indexes in
        step and queues the jobs. It is acknowledged by returning.

        Raises:
            VersionConflictError: if a cube moved on since it was read.
            CubeNotFoundError: if a cube to change is not there.
            AccessDeniedError: for a cube of another tenant, or one under legal hold.
            EmbedderMismatchError: if a vector was made by another embedder than the vault's.
            IdempotencyConflictError: if the key was used for another request.
            StoreError: if the database fails; nothing was written.
        """

        def work(connection: Any) -> Receipt:
            return apply(Commit(connection, scope, request, jobs, self._writer.memo), changes)

        receipt = self._writer.run(work, dry_run=dry_run, keeps_memo=True)
        if not dry_run:
            return receipt
        applied = tuple(type(one)(one.kind, one.cube_id, one.version, 0) for one in receipt.applied)
        return Receipt(applied, receipt.is_replay, True, receipt.details)

    def known_receipt(self, scope: Scope, key: str, body_digest: str) -> Receipt | None:
        """Return the receipt of an earlier commit under an idempotency key, or None.

        Raises:
            IdempotencyConflictError: if the key was used for another request.
        """
        request = Request("", "", idempotency_key=key, body_digest=body_digest)
        with self._reading("reading idempotency keys") as connection:
            return replay(Commit(connection, scope, request))

    # Cubes

    def get(
        self, tenant: str, cube_id: str, *, version: int | None = None, known_at: datetime | None = None
    ) -> MemCube | None:
        """Return a cube's newest version, the given one, or the one known at a time; None where there is none.

        Raises:
            CorruptPayloadError: if the stored version is damaged.
        """
        name, values = "read_head", {}
        if version is not None:
            name, values = "read_version", {"version": version}
        elif known_at is not None:
            name, values = "read_known_at", {"known_us": to_us(known_at)}
        rows = self._rows(name, tenant=tenant, cube_id=cube_id, **values)
        return records.read_cube(rows[0], f"cube {cube_id!r}") if rows else None

    def get_many(self, tenant: str, cube_ids: Sequence[str]) -> dict[str, MemCube]:
        """Return the newest versions of cubes, by id; unknown ids are left out.

        Raises:
            CorruptPayloadError: if a stored version is damaged.
        """
        rows = self._rows("read_heads", tenant=tenant, cube_ids=json.dumps(list(cube_ids)))
        cubes = [records.read_cube(row, "a cube among the hits") for row in rows]
        return {cube.id: cube for cube in cubes}

    def history(self, tenant: str, cube_id: str) -> list[MemCube]:
        """Return all versions of a cube, oldest first."""
        rows = self._rows("history", tenant=tenant, cube_id=cube_id)
        return [records.read_cube(row, f"cube {cube_id!r}") for row in rows]

    def select(
        self,
        scope: Scope,
        wanted: Filter,
        *,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[MemCube]:
        """Return cubes of a scope in the order of their making, at most `limit`, with ids after `after`.

        With `known_at`, the versions that were known then, and no filter but the scope.

        Raises:
            InvalidInputError: if `wanted.match` is no full-text query.
        """
        values: dict[str, Any] = {"tenant": scope.tenant, "user": scope.user, "after": after, "limit": limit}
        if known_at is not None:
            rows = self._rows("list_known_at", **values, known_us=to_us(known_at))
        else:
            values |= filter_values(scope, wanted, as_of)
            rows = self._matched("list_heads", values)
        return [records.read_cube(row, f"a cube of {scope}") for row in rows]

    def matching(self, scope: Scope, match: str) -> set[str]:
        """Return the ids of a user's cubes that a full-text query matches.

        Raises:
            InvalidInputError: if it is no full-text query.
        """
        values = {"tenant": scope.tenant, "user": scope.user, "match": match_in(scope, match)}
        return {row[0] for row in self._matched("matching", values)}

    def _matched(self, name: str, values: dict[str, Any]) -> list[Any]:
        """Run a statement that may hold a full-text query, and name the query where it does not parse."""
        try:
            return self._rows(name, **values)
        except StoreError as error:
            if values.get("match") is not None:
                refuse_unread(error)
            raise

    def known_texts(self, scope: Scope, refs: Sequence[str]) -> set[tuple[str, str | None, str]]:
        """Return origin id, session and text of all versions of a user's, or agent's, cubes that came with the ids."""
        values = {"tenant": scope.tenant, "user": scope.user, "agent": scope.agent, "refs": json.dumps(list(refs))}
        return set(map(tuple, self._rows("known_texts", **values)))

    def children(self, tenant: str, cube_id: str) -> list[tuple[str, int, Edge]]:
        """Return what was derived from a cube: child id, child version, and the edge to the parent."""
        rows = self._rows("children", tenant=tenant, cube_id=cube_id)
        return [(child, version, Edge(Relation(name), cube_id, parent)) for child, version, name, parent in rows]

    def tombstone(self, tenant: str, cube_id: str) -> Tombstone | None:
        """Return what stays of an erased cube, or None."""
        rows = self._rows("tombstone", tenant=tenant, cube_id=cube_id)
        return Tombstone(cube_id, from_us(rows[0][1]), rows[0][2]) if rows else None

    def tombstones(self, scope: Scope) -> list[Tombstone]:
        """Return what stays of all erased cubes of a user."""
        rows = self._rows("tombstones", tenant=scope.tenant, user=scope.user)
        return [Tombstone(cube_id, from_us(us), count) for cube_id, us, count in rows]

    def usage(self, tenant: str, cube_id: str) -> Usage:
        """Return how a cube is used."""
        rows = self._rows("usage", tenant=tenant, cube_id=cube_id)
        return Usage(rows[0][0], from_us(rows[0][1]), rows[0][2]) if rows else Usage()

    def add_uses(self, tenant: str, uses: dict[str, int]) -> None:
        """Count uses of cubes; no version and no journal row is made."""
        at_us = now_us()

        def work(connection: Any) -> None:
            for cube_id, count in uses.items():
                values = {"tenant": tenant, "cube_id": cube_id, "uses": count, "last_used_us": at_us}
                connection.execute(sql("add_use"), values)

        self._writer.run(work)

    # Journal and numbers

    def journal(self, tenant: str, *, after: int = 0, limit: int = 1_000) -> list[JournalRow]:
        """Return the tenant's journal rows after a place, oldest first."""
        return [journal_row(row) for row in self._rows("read_journal", tenant=tenant, after=after, limit=limit)]

    def journal_of(self, tenant: str, cube_id: str) -> list[JournalRow]:
        """Return the journal rows of one cube, oldest first."""
        return [journal_row(row) for row in self._rows("journal_of_cube", tenant=tenant, cube_id=cube_id)]

    def tenants(self) -> list[str]:
        """Return the tenants that have ever written."""
        return [row[0] for row in self._rows("tenants")]

    def users(self, tenant: str) -> list[str]:
        """Return a tenant's users that have ever written."""
        return [row[0] for row in self._rows("users", tenant=tenant)]

    def counts(self, scope: Scope) -> dict[str, Any]:
        """Return numbers of a user: cubes by form, type and state, versions, text bytes, jobs of the tenant."""
        values = {"tenant": scope.tenant, "user": scope.user}
        by_state = {f"{form}/{kind}/{state}": n for form, kind, state, n in self._rows("count_by_state", **values)}
        num_versions, num_bytes = self._rows("count_versions", **values)[0]
        return {
            "cubes": sum(by_state.values()),
            "by_state": by_state,
            "versions": num_versions,
            "text_bytes": int(num_bytes),
            "searched": self._rows("count_index", **values)[0][0],
            "journal_rows": self._rows("count_journal", tenant=scope.tenant)[0][0],
            "jobs": {f"{name}/{state}": n for name, state, n in self._rows("count_jobs", tenant=scope.tenant)},
        }

    def num_bytes(self) -> int:
        """Return the bytes of the folder's files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    # Search index

    def index_delta(self, scope: Scope, since: int, embedder_key: int = 0) -> IndexDelta | None:
        """Return what changed in a user's index after a place in the journal; None where nothing did.

        An index with vectors of another embedder, by its key, is read anew: vectors of two are never mixed.
        """
        with self._reading("reading the index") as connection:
            values: dict[str, Any] = {"tenant": scope.tenant, "user": scope.user}
            seq, key = next(iter(connection.execute(sql("scope_head"), values)), (since, embedder_key))
            if (seq, key) == (since, embedder_key):
                return None
            names = [name for one, name, _ in connection.execute(sql("embedders")) if one == key]
            made_by = {"embedder_key": key, "embedder": names[0] if names else None}
            values["embedder_key"] = key
            if since > 0 and key == embedder_key:
                changed = [row[0] for row in connection.execute(sql("changed_cubes"), values | {"after": since})]
                if "" not in changed and len(changed) <= MAX_DELTA:
                    found = connection.execute(sql("index_of_cubes"), values | {"cube_ids": json.dumps(changed)})
                    rows = tuple(IndexRow(*row) for row in found)
                    gone = set(changed) - {row.cube_id for row in rows}
                    return IndexDelta(seq, False, rows, tuple(sorted(gone)), **made_by)
            rows = tuple(map(IndexRow._make, connection.execute(sql("index_of_user"), values)))
            return IndexDelta(seq, True, rows, **made_by)

    def embedder(self) -> str | None:
        """Return the fingerprint of the embedder that made the vectors; None before the first vector."""
        current = [fingerprint for _, fingerprint, is_current in self._rows("embedders") if is_current]
        return current[0] if current else None

    def without_vector(
        self, tenant: str, fingerprint: str, limit: int, after: tuple[str, str] = ("", "")
    ) -> list[tuple[str, str]]:
        """Return user and id of searched cubes that have no vector of an embedder yet, in order, after one of them."""
        keys = {name: key for key, name, _ in self._rows("embedders")}
        values = {"tenant": tenant, "embedder_key": keys.get(fingerprint, 0), "limit": limit}
        values |= {"after_user": after[0], "after_id": after[1]}
        return [tuple(row) for row in self._rows("without_vector", **values)]

    def switch_embedder(self, fingerprint: str) -> bool:
        """Make an embedder the current one if no searched cube lacks its vector; old vectors are dropped.

        Returns:
            False where a cube still lacks its vector; nothing was changed then.
        """
        return self._writer.run(lambda connection: switch(connection, fingerprint))

    # Jobs

    def lease_job(
        self, tenant: str, lease_s: float, queue: str | None = None, *, takes_over: bool = False
    ) -> LeasedJob | None:
        """Take the next job that is due, or a scrub that another has leased; None where none is."""
        values = {"tenant": tenant, "now_us": now_us(), "queue": queue, "takes_over": takes_over}
        values["lease_until_us"] = values["now_us"] + int(lease_s * 1e6)

        def work(connection: Any) -> Any:
            return next(iter(connection.execute(sql("lease_job"), values)), None)

        row = self._writer.run(work)
        return None if row is None else LeasedJob(tenant, row[0], row[1], json.loads(row[2]), row[3], row[4])

    def tenants_with_jobs(self) -> list[str]:
        """Return the tenants that have a job that is due."""
        return [row[0] for row in self._rows("tenants_with_jobs", now_us=now_us())]

    def finish_job(self, job: LeasedJob) -> bool:
        """Take a job off the queue; False where its lease was lost to another worker."""
        values = {"tenant": job.tenant, "job_key": job.job_key, "fence": job.fence}
        return bool(self._writer.run(lambda connection: list(connection.execute(sql("finish_job"), values))))

    def fail_job(self, job: LeasedJob, error: EngramosError, retry_at_us: int | None, *, counts: bool = True) -> bool:
        """Put a job back for a time, or, with None, among the dead ones; the attempt may be left uncounted."""
        values = {"tenant": job.tenant, "job_key": job.job_key, "fence": job.fence, "last_error": str(error)[:500]}
        values["attempts"] = job.attempts - (not counts)
        values |= {"state": "dead" if retry_at_us is None else "queued", "run_at_us": retry_at_us or now_us()}
        return bool(self._writer.run(lambda connection: list(connection.execute(sql("fail_job"), values))))

    def expired(self, tenant: str, limit: int = 1_000) -> list[tuple[str, int, str]]:
        """Return id, version and user of cubes whose time is over and that are not held."""
        rows = self._rows("expired", tenant=tenant, now_us=now_us(), limit=limit)
        return [tuple(row) for row in rows]

    def scrub(self, tenant: str, blobs: Sequence[str]) -> Scrubbed:
        """Remove what an erasure leaves in the files: index segments, the write-ahead log, blobs without a user."""
        return scrub(self._writer, self.blobs, tenant_folder(self.folder, tenant), tenant, blobs)

    def backup(self, target: Path) -> Path:
        """Write a consistent copy of the memory into a new folder, while others read and write.

        Raises:
            StoreError: if the folder exists already or cannot be written.
        """
        with self._reading(f"backing up to {target}") as connection:
            connection.execute("ROLLBACK")
            copy(connection, self.blobs, target, FILE_NAME)
        values = {"path": str(target), "at_us": now_us()}
        self._writer.run(lambda connection: list(connection.execute(sql("add_backup"), values)))
        return target

    def backups(self) -> list[tuple[str, datetime]]:
        """Return the path and time of each backup that was made."""
        return [(path, from_us(us)) for path, us in self._rows("backups")]
