"""The one writer of a process: one thread at a time commits whatever is queued, in one transaction.

Group commit: the first thread that comes becomes the writer; while its transaction is being fsynced, further requests
queue, and go into the next transaction together. A request is acknowledged after the commit that holds it. No thread of
its own is needed, so a lone add pays for no hand-over.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from engramos import failpoints
from engramos.errors import EngramosError, StoreError, translate

MAX_GROUP = 256


class _Outcome:
    """Holds what a request's work returned or raised; only the database's own errors pass through."""

    def __init__(self, fatal: tuple[type[Exception], ...]) -> None:
        self._fatal = fatal
        self.value: Any = None
        self.error: BaseException | None = None

    def __enter__(self) -> "_Outcome":
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> bool:
        self.error = error
        return error is not None and not isinstance(error, self._fatal)


class Writer:
    """Runs functions of a connection, each whole or not at all, and acknowledges after the commit."""

    def __init__(self, open_connection: Callable[[], Any], errors: dict[type[Exception], type[EngramosError]]) -> None:
        self._connection = open_connection()
        self._errors = errors
        self._queue: deque = deque()
        self._turn = threading.Lock()
        self._is_closed = False

    def run(self, work: Callable[[Any], Any], *, dry_run: bool = False) -> Any:
        """Run `work(connection)` in a transaction and return its value once it is durable.

        Args:
            work: reads and writes through the connection; what it raises undoes it alone.
            dry_run: undo it in any case.

        Raises:
            StoreError: if the database fails, or the vault is closed.
        """
        future: Future = Future()
        self._queue.append((work, dry_run, future))
        while not future.done():
            with self._turn:
                if not future.done():
                    self._commit_group()
        return future.result()

    def run_alone(self, work: Callable[[Any], Any]) -> Any:
        """Run `work(connection)` outside of any transaction (checkpoints), while nobody writes.

        Raises:
            StoreError: if the database fails, or the vault is closed.
        """
        with self._turn, translate(self._errors, "writing to the database"):
            self._refuse_if_closed()
            return work(self._connection)

    def close(self) -> None:
        """Finish what is queued, then close the connection."""
        with self._turn:
            while self._queue and not self._is_closed:
                self._commit_group()
            if not self._is_closed:
                self._is_closed = True
                self._connection.close()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreError("this memory is closed: open it again")

    def _commit_group(self) -> None:
        group = []
        while self._queue and len(group) < MAX_GROUP:
            group.append(self._queue.popleft())
        done: list[tuple[Future, Any]] = []
        try:
            self._refuse_if_closed()
            with translate(self._errors, "writing to the database", next_step="free space or check the disk"):
                self._connection.execute("BEGIN IMMEDIATE")
                failpoints.reach("before_apply")
                for work, dry_run, future in group:
                    self._apply(work, dry_run, future, done)
                failpoints.reach("before_commit")
                self._connection.execute("COMMIT")
                failpoints.reach("after_commit")
        except EngramosError as error:
            self._undo()
            for _, _, future in group:
                if not future.done():
                    future.set_exception(error)
        else:
            for future, result in done:
                future.set_result(result)
        finally:
            # an interrupt in this thread must not leave the others waiting
            for _, _, future in group:
                if not future.done():
                    future.set_exception(StoreError("the commit was interrupted: read back what was written"))

    def _apply(self, work: Callable[[Any], Any], dry_run: bool, future: Future, done: list) -> None:
        self._connection.execute("SAVEPOINT request")
        with _Outcome(tuple(self._errors)) as outcome:
            outcome.value = work(self._connection)
        if outcome.error is not None or dry_run:
            self._connection.execute("ROLLBACK TO request")
        self._connection.execute("RELEASE request")
        if outcome.error is not None:
            # it belongs to the caller, whatever it is
            future.set_exception(outcome.error)
        else:
            done.append((future, outcome.value))

    def _undo(self) -> None:
        if not self._is_closed and self._connection.in_transaction:
            with translate(self._errors, "rolling back"):
                self._connection.execute("ROLLBACK")
