"""The one writer of a process: one thread at a time commits whatever is queued, in one transaction.

Group commit: the first thread that comes becomes the writer; while its transaction is being fsynced, further requests
queue, and go into the next transaction together. A request is acknowledged after the commit that holds it. No thread of
its own is needed, so a lone add pays for no hand-over.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from engramos import failpoints
from engramos.errors import EngramosError, StoreError, translate

MAX_GROUP = 256


class _Request:
    """One caller's work, and what became of it."""

    __slots__ = ("dry_run", "error", "is_done", "keeps_memo", "value", "work")

    def __init__(self, work: Callable[[Any], Any], dry_run: bool, keeps_memo: bool) -> None:
        self.work, self.dry_run, self.keeps_memo = work, dry_run, keeps_memo
        self.value: Any = None
        self.error: BaseException | None = None
        self.is_done = False

    def fail(self, error: BaseException) -> None:
        """Note why there is no value, unless it is done already."""
        if not self.is_done:
            self.error, self.is_done = error, True


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
        self.memo: dict[Any, Any] = {}
        """What `work` may remember between its runs; emptied whenever something else wrote, or was undone."""

    def run(self, work: Callable[[Any], Any], *, dry_run: bool = False, keeps_memo: bool = False) -> Any:
        """Run `work(connection)` in a transaction and return its value once it is durable.

        Args:
            work: reads and writes through the connection; what it raises undoes it alone.
            dry_run: undo it in any case.
            keeps_memo: `work` keeps `memo` true.

        Raises:
            StoreError: if the database fails, or the vault is closed.
        """
        request = _Request(work, dry_run, keeps_memo)
        self._queue.append(request)
        while not request.is_done:
            with self._turn:
                if not request.is_done:
                    self._commit_group()
        if request.error is None:
            return request.value
        try:
            raise request.error
        finally:
            # the error's traceback holds this frame: without the request, they make no circle
            del request

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
        group: list[_Request] = []
        while self._queue and len(group) < MAX_GROUP:
            group.append(self._queue.popleft())
        try:
            self._refuse_if_closed()
            with translate(self._errors, "writing to the database", next_step="free space or check the disk"):
                self._connection.execute("BEGIN IMMEDIATE")
                failpoints.reach("before_apply")
                self._forget_if_stale()
                for request in group:
                    self._apply(request, is_alone=len(group) == 1)
                failpoints.reach("before_commit")
                self._connection.execute("COMMIT")
                failpoints.reach("after_commit")
        except EngramosError as error:
            self._undo()
            for request in group:
                request.fail(error)
        else:
            for request in group:
                request.is_done = True
        finally:
            # an interrupt in this thread must not leave the others waiting
            for request in group:
                if not request.is_done:
                    request.fail(StoreError("the commit was interrupted: read back what was written"))

    def _forget_if_stale(self) -> None:
        """Empty the memo if another connection has committed since."""
        version = next(iter(self._connection.execute("PRAGMA data_version")))[0]
        if self.memo.get("data_version") != version:
            self.memo.clear()
            self.memo["data_version"] = version

    def _apply(self, request: _Request, *, is_alone: bool) -> None:
        """Run one request; where it is not alone in the transaction, in a savepoint."""
        if not is_alone:
            self._connection.execute("SAVEPOINT request")
        with _Outcome(tuple(self._errors)) as outcome:
            outcome.value = request.work(self._connection)
        is_undone = outcome.error is not None or request.dry_run
        if is_undone:
            self._connection.execute("ROLLBACK" if is_alone else "ROLLBACK TO request")
        if is_undone or not request.keeps_memo:
            self.memo.clear()
        if is_alone and is_undone:
            self._connection.execute("BEGIN IMMEDIATE")
        elif not is_alone:
            self._connection.execute("RELEASE request")
        if outcome.error is not None:
            # it belongs to the caller, whatever it is
            request.fail(outcome.error)
        else:
            request.value = outcome.value

    def _undo(self) -> None:
        self.memo.clear()
        if not self._is_closed and self._connection.in_transaction:
            with translate(self._errors, "rolling back"):
                self._connection.execute("ROLLBACK")
