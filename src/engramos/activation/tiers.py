"""Tiers: KV cubes in GPU memory, in RAM and on disk, each tier within its bytes."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from engramos.activation.tier import COST, LRU, MAX_NOTED, Eviction, Slot, Tier
from engramos.errors import ConfigError, EngramosError

MAX_QUEUED = 256
FAILURES = (EngramosError, OSError, MemoryError, RuntimeError)
"""What a tier may fail with when a value enters it: no space on a disk, no memory on a device (a RuntimeError)."""

Load = Callable[[], Any]
"""Makes a value that no tier holds: reads the blob, or computes it. It must not ask the same tiers."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong beside a request that was served."""

    key: Hashable
    doing: str
    """`prefetch`, or `move` into a tier."""
    problem: str
    """The error's class and message."""


class Tiers:
    """Values in several tiers, the fastest first; a value stands in one of them, and in each that keeps copies too.

    `use` and `get` move what they find, or load, to the fastest tier that can hold it. What must give way there is
    offloaded to the next tier, and so on down; what finds no place is gone. A value that is in use is neither evicted
    nor moved. No lock is held while a value is loaded or moved: a second request for the same key waits for the first,
    and all others go on.

    A value that no tier can hold is handed out all the same, and not kept: a request never fails for want of room. So
    the tiers never exceed their budgets, but for values on their way from one to another.

    Source: Pensieve, https://arxiv.org/abs/2312.05516 (tiers, and loading ahead for requests that wait).
    Differs: the unit is a whole value, not a chunk of 32 tokens.
    """

    def __init__(self, tiers: Sequence[Tier], gone: Callable[[Hashable], object] | None = None) -> None:
        """Take the tiers over, the fastest first; end by `close`, or use a `with` block.

        Args:
            tiers: nobody else may put into them or take from them.
            gone: called with each key that was evicted and is now in no tier.

        Raises:
            ConfigError: if there is none, or two have one name.
        """
        self.tiers = tuple(tiers)
        if not self.tiers or len({tier.name for tier in self.tiers}) != len(self.tiers):
            raise ConfigError("give one tier or more, each with a name of its own")
        self._gone = gone
        self.failures: deque[Failure] = deque(maxlen=MAX_NOTED)
        """Errors that no request saw: of prefetching, and of moving values; the newest last."""
        self._changed = threading.Condition()
        self._moving: Counter[Hashable] = Counter()
        self._queued: dict[Hashable, Future] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    def __enter__(self) -> "Tiers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def evictions(self) -> list[Eviction]:
        """What had to give way in any tier, the oldest first."""
        with self._changed:
            return sorted((one for tier in self.tiers for one in tier.evictions), key=lambda one: one.at_us)

    def get(self, key: Hashable, load: Load, *, saved_s: float = 0.0) -> Any:
        """Return a value, moved up or loaded; unlike within `use`, it may be evicted at once.

        Args:
            key: such as a tenant with a blob's digest.
            load: called where no tier holds it, never twice at a time for one key; its errors go to the caller.
            saved_s: seconds that holding the value saves at each use, >= 0, for tiers that evict by cost.
        """
        with self.use(key, load, saved_s=saved_s) as value:
            return value

    @contextmanager
    def use(self, key: Hashable, load: Load, *, saved_s: float = 0.0) -> Iterator[Any]:
        """Return a value that stays where it is until the block ends; arguments as of `get`."""
        tier, slot, value = self._acquire(key, load, saved_s)
        try:
            yield value
        finally:
            if tier is not None:
                tier.unpin(slot)

    def prefetch(self, wanted: Iterable[tuple[Hashable, Load]], *, saved_s: float = 0.0) -> list[Future]:
        """Load values in a thread of its own, for requests that wait; return at once.

        Left out are keys that the fastest tier holds or that are queued, and what would exceed `MAX_QUEUED`.

        Args:
            wanted: keys with their loads, the most urgent first.
            saved_s: as of `get`.

        Returns:
            A future for each key that was queued, done when its value is there. An error stands in it, and in
            `failures` for those who do not look.
        """
        made = []
        with self._changed:
            for key, load in wanted:
                if self._is_closed or len(self._queued) >= MAX_QUEUED:
                    break
                if key in self._queued or key in self.tiers[0]:
                    continue
                # the pool's thread ends with the interpreter, also where nobody closes
                self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="kv-prefetch")
                self._queued[key] = self._pool.submit(self._prefetched, key, load, saved_s)
                made.append((key, self._queued[key]))
        for key, future in made:
            future.add_done_callback(lambda done, key=key: self._end_prefetch(key, done))
        return [future for _, future in made]

    def drop(self, key: Hashable) -> bool:
        """Take a value out of every tier, in use or not; return whether it was there.

        Who uses it at the moment may end; nobody else gets it. A queued prefetch of it is cancelled, one that runs is
        waited for. To erase a value, first remove what `load` reads: a later request would bring it back.
        """
        with self._changed:
            queued = self._queued.get(key)
        if queued is not None and not queued.cancel():
            wait([queued])
        with self._moved_by_none(key):
            gone = [(tier, tier.take(key)) for tier in self.tiers if key in tier]
        for tier, slot in gone:
            tier.leave(key, slot.value)
        return bool(gone)

    def where(self, key: Hashable) -> str | None:
        """Return the name of the fastest tier that holds a value, None where none does."""
        with self._changed:
            return next((tier.name for tier in self.tiers if key in tier), None)

    def close(self) -> None:
        """End the prefetching: what is queued is cancelled, what runs is waited for. The values stay."""
        with self._changed:
            self._is_closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prefetched(self, key: Hashable, load: Load, saved_s: float) -> None:
        # the value is not returned: a future that is kept would hold it beyond every budget
        self.get(key, load, saved_s=saved_s)

    def _end_prefetch(self, key: Hashable, done: Future) -> None:
        error = None if done.cancelled() else done.exception()
        with self._changed:
            if self._queued.get(key) is done:
                del self._queued[key]
        if error is not None:
            self._note(key, "prefetch", error)

    @contextmanager
    def _moved_by_none(self, key: Hashable) -> Iterator[None]:
        """Hold the lock from a moment on at which nobody moves this key."""
        with self._changed:
            self._changed.wait_for(lambda: not self._moving[key])
            yield

    def _acquire(self, key: Hashable, load: Load, saved_s: float) -> tuple[Tier | None, Slot | None, Any]:
        """Return a value, with the tier and the slot in which it is pinned, if it is in any."""
        with self._moved_by_none(key):
            source = next((tier for tier in self.tiers if key in tier), None)
            slot = None
            if source is not None:
                is_busy, slot = source.is_pinned(key), source.pin(key)
                assert slot is not None
                if is_busy or not any(tier.can_hold(slot.num_bytes) for tier in self._above(source)):
                    return source, slot, slot.value
            self._moving[key] += 1
        try:
            if source is None or slot is None:
                return self._settled(key, *self._place(key, load(), self.tiers, saved_s))
            return self._raised(source, slot)
        finally:
            self._end_moves([key])

    def _above(self, tier: Tier) -> tuple[Tier, ...]:
        return self.tiers[: self.tiers.index(tier)]

    def _raised(self, source: Tier, slot: Slot) -> tuple[Tier, Slot, Any]:
        """Move a value up that is pinned in `source`; it stays there if nothing above takes it."""
        with ExitStack() as undo:
            undo.callback(source.unpin, slot)
            tier, new, value, victims = self._place(slot.key, slot.value, self._above(source), slot.saved_s)
            if tier is None or new is None:
                undo.pop_all()
                return source, slot, slot.value
        # before anything is offloaded: what comes down may need the room
        if not source.keeps_copy:
            source.take(slot.key)
        settled = self._settled(slot.key, tier, new, value, victims)
        if not source.keeps_copy:
            source.leave(slot.key, slot.value)
        return settled

    def _settled(
        self, key: Hashable, tier: Tier | None, slot: Slot | None, value: Any, victims: list[Slot]
    ) -> tuple[Tier | None, Slot | None, Any]:
        """Offload what gave way to a value, and return where that is now."""
        if tier is None or slot is None:
            return None, None, value
        with ExitStack() as undo:
            undo.callback(tier.unpin, slot)
            self._offload(victims, tier)
            undo.pop_all()
        return tier, slot, value

    def _place(
        self, key: Hashable, value: Any, tiers: Sequence[Tier], saved_s: float
    ) -> tuple[Tier | None, Slot | None, Any, list[Slot]]:
        """Put a value into the first of the tiers that takes it, and pin it there; return also what gave way."""
        for tier in tiers:
            if not tier.can_hold(value.num_bytes) or (entered := self._entered(tier, key, value)) is None:
                continue
            with self._changed:
                # another thread may have taken the room meanwhile, and the value may have changed its size
                if tier.can_hold(entered.num_bytes):
                    victims = tier.put(key, entered, saved_s=saved_s)
                    self._moving.update(one.key for one in victims)
                    return tier, tier.pin(key), entered, victims
            tier.leave(key, entered)
        return None, None, value, []

    def _entered(self, tier: Tier, key: Hashable, value: Any) -> Any | None:
        try:
            return tier.enter(key, value)
        except FAILURES as error:
            self._note(key, "move", error)
            return None

    def _offload(self, victims: list[Slot], tier: Tier) -> None:
        pending = deque((slot, tier) for slot in victims)
        try:
            while pending:
                slot, above = pending[0]
                pending.extend(self._sink(slot, above))
                pending.popleft()
                self._end_moves([slot.key])
        finally:
            self._end_moves([slot.key for slot, _ in pending])

    def _sink(self, slot: Slot, above: Tier) -> list[tuple[Slot, Tier]]:
        """Put what gave way into the next tier that takes it; return what gives way there."""
        below = self.tiers[self.tiers.index(above) + 1 :]
        more: list[tuple[Slot, Tier]] = []
        if not any(slot.key in tier for tier in below):
            tier, pinned, _, victims = self._place(slot.key, slot.value, below, slot.saved_s)
            if tier is not None and pinned is not None:
                tier.unpin(pinned)
                more = [(one, tier) for one in victims]
        above.leave(slot.key, slot.value)
        if self._gone is not None and self.where(slot.key) is None:
            self._gone(slot.key)
        return more

    def _end_moves(self, keys: Iterable[Hashable]) -> None:
        with self._changed:
            for key in keys:
                self._moving[key] -= 1
                if not self._moving[key]:
                    del self._moving[key]
            self._changed.notify_all()

    def _note(self, key: Hashable, doing: str, error: BaseException) -> None:
        # as text: an error holds its frames, and these hold tensors
        with self._changed:
            self.failures.append(Failure(key, doing, f"{type(error).__name__}: {error}"))


__all__ = ["COST", "LRU", "Eviction", "Failure", "Tier", "Tiers"]
