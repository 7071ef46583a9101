"""Which rows are read next: those that are not learnt yet."""

import random
from collections.abc import Callable, Sequence


class Schedule:
    """Rows in shuffled rounds, until all of them are learnt.

    Every row stays in every round, or, with `skips`, leaves when it is learnt, and comes back where a look at all finds
    it lost.
    """

    def __init__(self, numbers: Sequence[int], batch: int, seed: int, *, skips: bool = False) -> None:
        """Begin with all rows not learnt.

        Args:
            numbers: of the rows.
            batch: how many are read in a step, 1 or more.
            seed: of the order.
            skips: whether rows that are learnt leave.
        """
        self._skips, self.num_rounds = skips, 0
        self._all, self._batch = list(numbers), batch
        self._drawn = random.Random(f"schedule {seed}")
        self._open = set(numbers)
        self._waiting: list[int] = []
        self.num_rows = 0
        """Rows that were handed out."""

    @property
    def rows(self) -> list[int]:
        """All rows."""
        return list(self._all)

    @property
    def share_done(self) -> float:
        """The share of rows that are learnt."""
        return 1.0 - len(self._open) / max(1, len(self._all))

    def next(self, is_kept: Callable[[Sequence[int]], Sequence[bool]]) -> list[int]:
        """Return the rows of the next step; none where all are learnt.

        Args:
            is_kept: says of each row whether it is still learnt; asked of all rows when none is open.
        """
        if not self._waiting:
            if not self._open:
                kept = is_kept(self._all)
                self._open = {number for number, one in zip(self._all, kept, strict=True) if not one}
                if not self._open:
                    return []
            self._waiting = sorted(self._open) if self._skips else list(self._all)
            self._drawn.shuffle(self._waiting)
            self.num_rounds += 1
        some, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        self.num_rows += len(some)
        return some

    def again(self) -> None:
        """Take all rows for not learnt: they are read once more, and leave when they are learnt still."""
        self._open = set(self._all)

    def note(self, numbers: Sequence[int], are_learnt: Sequence[bool]) -> None:
        """Take note of which rows of a step are learnt."""
        for number, is_learnt in zip(numbers, are_learnt, strict=True):
            (self._open.discard if is_learnt else self._open.add)(number)
