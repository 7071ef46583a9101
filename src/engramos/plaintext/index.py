"""SearchIndex: all that a search reads of one user's cubes, as arrays.

Rows are numbered in the order of their coming; a cube that changes gets a new row, and its old one is no longer alive.
It is built from the vault's rows and brought forward by deltas; nothing here reads or writes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engramos.plaintext.codes import ROLE as CODES
from engramos.plaintext.codes.base import Coded
from engramos.plaintext.postings import Postings
from engramos.rows import IndexDelta, IndexRow

NEVER = np.iinfo(np.int64).max
UNKNOWN = np.iinfo(np.int64).min
NONE = -1
TURNED = 1_024
"""Rows that are turned into columns at a time, so that they stay in the processor's cache."""


class Names:
    """Small numbers for names, so that rows can be compared as arrays."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, name: str | None) -> int:
        """Return the number of a name, a new one for a new name; -1 for None."""
        return NONE if name is None else self.codes.setdefault(name, len(self.codes))

    def find(self, name: str) -> int:
        """Return the number of a name; -2, which no row has, where it is unknown."""
        return self.codes.get(name, -2)


class Near(Protocol):
    """A nearest-neighbour index over the rows of a search index."""

    def find(self, index: "SearchIndex", vector: np.ndarray, num: int) -> np.ndarray | None:
        """Return about `num` rows near a vector, int64; None where all rows are to be scored instead."""


class SearchIndex:
    """Arrays of shape (rows,) about one user's cubes, in step with the journal up to `seq`."""

    def __init__(self) -> None:
        self.seq = 0
        """The place in the tenant's journal that this index has reached."""
        self.embedder_key = 0
        """Stands for the embedder that made the vectors; 0 for none."""
        self.near: Near | None = None
        """Its nearest-neighbour index, where one is kept."""
        self.epoch = 0
        """Counts the times that the rows were numbered anew."""
        self._start(())

    def apply(self, delta: IndexDelta) -> None:
        """Bring the index forward by what the vault says has changed."""
        if delta.is_full:
            self._start(delta.rows)
        else:
            for cube_id in delta.gone:
                self._drop(cube_id)
            for row in delta.rows:
                self._drop(row.cube_id)
                self._append(row)
        self.seq, self.embedder_key = delta.seq, delta.embedder_key
        self._around.clear()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_alive(self) -> int:
        """Number of cubes that a search can find."""
        return len(self.row_of)

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays, roughly."""
        coded = sum(one.num_bytes for one in self._coded.values())
        return self._vectors.nbytes + coded + len(self.ids) * 400

    def coded(self, method: str) -> Coded:
        """Return the codes of all rows by a method of the role codes; they are kept and follow the rows."""
        if method not in self._coded:
            self._coded[method] = Coded(CODES.make(method))
        return self._coded[method]

    def around(self, window: int) -> np.ndarray:
        """Return the rows of the turns around each row, -1 for none, shape (2 * window, rows), int32.

        In turn the turn before, the turn after, the second before, the second after, and so on. It is kept until the
        index changes.
        """
        if window not in self._around:
            table = np.full((2 * window, len(self)), NONE, dtype=np.int32)
            for side, links in enumerate((self.before, self.after)):
                padded = np.append(links, np.int32(NONE))
                at = links
                for distance in range(window):
                    table[2 * distance + side] = at
                    at = padded[at]
            self._around[window] = table
        return self._around[window]

    def _start(self, rows: Sequence[IndexRow]) -> None:
        self.epoch += 1
        self._around: dict[int, np.ndarray] = {}
        self._coded: dict[str, Coded] = {}
        self.ids: list[str] = []
        self._is_in_order, self._order = True, None
        self.versions: list[int] = []
        self.row_of: dict[str, int] = {}
        self.sessions, self.speakers, self.agents, self.types = Names(), Names(), Names(), Names()
        self.labels: list[str] = []
        self._capacity = 0
        self._dims = next((len(row.vector) // 2 for row in rows if row.vector), 0)
        self._allocate(max(1_024, len(rows)))
        for row in rows:
            self._fill(row)
        if self._dims and rows:
            blank = b"\0" * (2 * self._dims)
            flat = b"".join(row.vector or blank for row in rows)
            halves = np.frombuffer(flat, dtype="<f2").reshape(len(rows), self._dims)
            for start in range(0, len(rows), TURNED):
                part = slice(start, min(start + TURNED, len(rows)))
                self._vectors.T[:, part] = np.ascontiguousarray(halves[part].T)
            self._has_vector[: len(rows)] = [row.vector is not None for row in rows]
        self.postings = Postings([row.terms for row in rows])
        self._link()

    def _allocate(self, capacity: int) -> None:
        """Grow every array to `capacity` rows."""

        def grown(name: str, dtype: type, fill: int, *shape: int) -> np.ndarray:
            array = np.full((capacity, *shape), fill, dtype=dtype)
            if self._capacity:
                array[: self._capacity] = getattr(self, name)
            return array

        for name in ("_session", "_speaker", "_agent", "_type", "_prev", "_next"):
            setattr(self, name, grown(name, np.int32, NONE))
        for name, fill in (("_valid", UNKNOWN), ("_invalid", NEVER), ("_expires", NEVER), ("_created", 0), ("_key", 0)):
            setattr(self, name, grown(name, np.int64, fill))
        self._trust = grown("_trust", np.float32, 1)
        self._alive = grown("_alive", np.bool_, 0)
        self._has_vector = grown("_has_vector", np.bool_, 0)
        # dimension by dimension: a product with a question then takes half the time that it takes row by row
        vectors = np.zeros((capacity, self._dims), dtype=np.float32, order="F")
        if self._capacity:
            vectors[: self._capacity] = self._vectors
        self._vectors = vectors
        self._capacity = capacity

    def _fill(self, row: IndexRow) -> int:
        at = len(self.ids)
        if at == self._capacity:
            self._allocate(self._capacity + max(1_024, self._capacity // 2))
        if at and row.cube_id < self.ids[-1]:
            self._is_in_order = False
        self._order = None
        self.ids.append(row.cube_id)
        self.versions.append(row.version)
        self.labels.append(row.labels)
        self.row_of[row.cube_id] = at
        self._session[at] = self.sessions.code(row.session)
        self._speaker[at] = self.speakers.code(row.speaker.lower() if row.speaker else None)
        self._agent[at] = self.agents.code(row.agent)
        self._type[at] = self.types.code(row.type)
        self._valid[at] = UNKNOWN if row.valid_us is None else row.valid_us
        self._invalid[at] = NEVER if row.invalid_us is None else row.invalid_us
        self._expires[at] = NEVER if row.expires_us is None else row.expires_us
        self._created[at] = row.created_us
        self._key[at] = row.cube_key
        self._trust[at] = row.trust
        self._alive[at] = True
        return at

    def _append(self, row: IndexRow) -> None:
        if row.vector and not self._dims:
            self._dims = len(row.vector) // 2
            self._vectors = np.zeros((self._capacity, self._dims), dtype=np.float32, order="F")
            self._coded.clear()
        at = self._fill(row)
        if row.vector:
            self._vectors[at] = np.frombuffer(row.vector, dtype="<f2")
            self._has_vector[at] = True
        self.postings.append(row.terms)
        session = int(self._session[at])
        if session == NONE:
            return
        last = self._last.get(session)
        if last is not None and self._order_key(last) > self._order_key(at):
            self._link()
            return
        if last is not None:
            self._next[last], self._prev[at] = at, last
        self._last[session] = at

    def _drop(self, cube_id: str) -> None:
        at = self.row_of.pop(cube_id, None)
        if at is None:
            return
        self._alive[at] = False
        before, after = int(self._prev[at]), int(self._next[at])
        if before != NONE:
            self._next[before] = after
        if after != NONE:
            self._prev[after] = before
        session = int(self._session[at])
        if self._last.get(session) == at:
            self._last[session] = before
            if before == NONE:
                del self._last[session]

    def _order_key(self, at: int) -> tuple[int, str]:
        return int(self._valid[at]), self.ids[at]

    def _link(self) -> None:
        """Chain the rows of each session by time, then in the order of their making, which their ids tell."""
        num = len(self.ids)
        self._prev[:num], self._next[:num] = NONE, NONE
        alive = np.flatnonzero(self._alive[:num] & (self._session[:num] != NONE))
        made = np.arange(num)
        if self.order is not None:
            made[self.order] = np.arange(num)
        order = alive[np.lexsort([key[alive] for key in (made, self._valid, self._session)])]
        same = self._session[order[1:]] == self._session[order[:-1]]
        self._next[order[:-1][same]] = order[1:][same]
        self._prev[order[1:][same]] = order[:-1][same]
        ends = order[np.append(~same, True)] if len(order) else order
        self._last = {int(self._session[at]): int(at) for at in ends}

    @property
    def order(self) -> np.ndarray | None:
        """The rows in the order of their ids, i.e. of their making; None where they stand so already.

        A cube that changed has a late row until the next start: ties must not depend on that.
        """
        if self._is_in_order:
            return None
        if self._order is None:
            self._order = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), dtype=np.int64)
        return self._order

    # What methods read: views of shape (rows,)

    @property
    def vectors(self) -> np.ndarray:
        """Unit vectors, shape (rows, dims), float32, in Fortran order; zero where a row has none."""
        return self._vectors[: len(self.ids)]

    @property
    def has_vector(self) -> np.ndarray:
        """Which rows have a vector."""
        return self._has_vector[: len(self.ids)]

    @property
    def key(self) -> np.ndarray:
        """The cube's number in the vault, int64."""
        return self._key[: len(self.ids)]

    @property
    def alive(self) -> np.ndarray:
        """Which rows are a cube's newest searchable version."""
        return self._alive[: len(self.ids)]

    @property
    def session(self) -> np.ndarray:
        """Number of the session, -1 for none."""
        return self._session[: len(self.ids)]

    @property
    def speaker(self) -> np.ndarray:
        """Number of the speaker, -1 for none."""
        return self._speaker[: len(self.ids)]

    @property
    def agent(self) -> np.ndarray:
        """Number of the agent, -1 for none."""
        return self._agent[: len(self.ids)]

    @property
    def type(self) -> np.ndarray:
        """Number of the type."""
        return self._type[: len(self.ids)]

    @property
    def valid(self) -> np.ndarray:
        """True in the world since, microseconds; the least int64 where unknown."""
        return self._valid[: len(self.ids)]

    @property
    def created(self) -> np.ndarray:
        """Known to the system since, microseconds."""
        return self._created[: len(self.ids)]

    @property
    def invalid(self) -> np.ndarray:
        """No longer true in the world from, microseconds; the greatest int64 for never."""
        return self._invalid[: len(self.ids)]

    @property
    def expires(self) -> np.ndarray:
        """Kept until, microseconds; the greatest int64 for ever."""
        return self._expires[: len(self.ids)]

    @property
    def trust(self) -> np.ndarray:
        """Trust in [0, 1]."""
        return self._trust[: len(self.ids)]

    @property
    def before(self) -> np.ndarray:
        """Row of the turn before in the same session, -1 for none."""
        return self._prev[: len(self.ids)]

    @property
    def after(self) -> np.ndarray:
        """Row of the turn after in the same session, -1 for none."""
        return self._next[: len(self.ids)]
