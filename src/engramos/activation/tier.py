"""One tier: values under a byte budget, the least useful given up first, those in use never."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from engramos.clock import now_us
from engramos.errors import ConfigError, QuotaExceededError

LRU, COST = "lru", "cost"
"""Orders of eviction: the least recently used first; the least (saved seconds per byte) x recency first."""
MAX_NOTED = 1000


class Sized(Protocol):
    """What a tier holds: anything that knows its bytes, which do not change."""

    @property
    def num_bytes(self) -> int:
        """Bytes that count against the budget."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """A value that had to give way."""

    key: Hashable
    tier: str
    num_bytes: int
    at_us: int
    """Microseconds since 1970, UTC."""


@dataclass(slots=True, eq=False)
class Slot:
    """A value in a tier."""

    key: Hashable
    value: Any
    num_bytes: int
    saved_s: float
    """Seconds that holding it saves at each use."""
    used_at_us: int
    pins: int = field(default=0)
    """How many use it at the moment."""


class Tier:
    """Values by key, of at most `budget_bytes` together.

    Source: cost-aware order: Pensieve, https://arxiv.org/abs/2312.05516 (retention value: recompute cost by idle time).
    Differs: the cost is what the caller says that a use saves, for each byte; whole values and not chunks of 32 tokens.
        Pensieve gives up leading tokens first because they are cheaper to compute again; where a caller stores pieces,
        a smaller `saved_s` for leading ones says the same.
    """

    def __init__(
        self,
        name: str,
        budget_bytes: int,
        *,
        order: str = LRU,
        keeps_copy: bool = False,
        enter: Callable[[Hashable, Any], Any] | None = None,
        left: Callable[[Hashable, Any], object] | None = None,
    ) -> None:
        """Make an empty tier.

        Args:
            name: such as `gpu`, `ram`, `disk`.
            budget_bytes: >= 1.
            order: `lru` or `cost`.
            keeps_copy: a value that moves up stays here too, as a file on disk does.
            enter: makes of a value from another tier, or from a load, what this tier holds; None for the same.
            left: called with what `enter` returned, once it is here no more.

        Raises:
            ConfigError: if the budget or the order is out of its range.
        """
        if budget_bytes < 1:
            raise ConfigError(f"budget_bytes of tier {name!r} is {budget_bytes}: give 1 or more, or leave the tier out")
        if order not in (LRU, COST):
            raise ConfigError(f"order of tier {name!r} is {order!r}: use {LRU} or {COST}")
        self.name, self.budget_bytes, self.order, self.keeps_copy = name, budget_bytes, order, keeps_copy
        self._enter, self._left = enter, left
        self._lock = threading.RLock()
        self._slots: OrderedDict[Hashable, Slot] = OrderedDict()
        self._num_bytes = 0
        self.evictions: deque[Eviction] = deque(maxlen=MAX_NOTED)
        """What had to give way here, the newest last."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all values."""
        return self._num_bytes

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def can_hold(self, num_bytes: int) -> bool:
        """Return whether so many bytes fit once everything that is not in use has given way."""
        with self._lock:
            return num_bytes <= self.budget_bytes - sum(one.num_bytes for one in self._slots.values() if one.pins)

    def put(self, key: Hashable, value: Sized, *, saved_s: float = 0.0) -> list[Slot]:
        """Keep a value; return those that gave way.

        Args:
            key: whatever stood under it is replaced, and returned too.
            value: what `enter` returned.
            saved_s: seconds that holding it saves at each use, >= 0.

        Raises:
            QuotaExceededError: if it is larger than the budget, or than what is not in use; nothing has changed then.
        """
        num_bytes = value.num_bytes
        with self._lock:
            if not self.can_hold(num_bytes):
                raise QuotaExceededError(f"a value for tier {self.name!r}, in bytes,", self.budget_bytes, num_bytes)
            gone = [old] if (old := self.take(key)) is not None else []
            if self._num_bytes + num_bytes > self.budget_bytes:
                gone += self._make_room(num_bytes)
            self._slots[key] = Slot(key, value, num_bytes, saved_s, now_us())
            self._num_bytes += num_bytes
            return gone

    def get(self, key: Hashable) -> Any:
        """Return a value and note its use; None where there is none."""
        with self._lock:
            return None if key not in self._slots else self._touch(key).value

    @contextmanager
    def use(self, key: Hashable) -> Iterator[Any]:
        """Return a value that is not evicted until the block ends; None where there is none."""
        slot = self.pin(key)
        try:
            yield None if slot is None else slot.value
        finally:
            if slot is not None:
                self.unpin(slot)

    def pin(self, key: Hashable) -> Slot | None:
        """Count one more user of a value, until `unpin`; None where there is none."""
        with self._lock:
            if key not in self._slots:
                return None
            slot = self._touch(key)
            slot.pins += 1
            return slot

    def unpin(self, slot: Slot) -> None:
        """Count one user less; the value may have been taken out meanwhile."""
        with self._lock:
            slot.pins -= 1

    def is_pinned(self, key: Hashable) -> bool:
        """Return whether a value is in use."""
        with self._lock:
            return key in self._slots and self._slots[key].pins > 0

    def take(self, key: Hashable) -> Slot | None:
        """Take a value out, in use or not; None where there is none. It is no eviction."""
        with self._lock:
            slot = self._slots.pop(key, None)
            if slot is not None:
                self._num_bytes -= slot.num_bytes
            return slot

    def enter(self, key: Hashable, value: Any) -> Any:
        """Return what this tier holds of a value that comes from elsewhere."""
        return value if self._enter is None else self._enter(key, value)

    def leave(self, key: Hashable, value: Any) -> None:
        """Tell the owner that a value is here no more."""
        if self._left is not None:
            self._left(key, value)

    def _touch(self, key: Hashable) -> Slot:
        slot = self._slots[key]
        slot.used_at_us = now_us()
        self._slots.move_to_end(key)
        return slot

    def _make_room(self, num_bytes: int) -> list[Slot]:
        at_us = now_us()
        free = [one for one in self._slots.values() if not one.pins]
        if self.order == COST:
            # stable: among equals the least recently used goes first
            free.sort(key=lambda one: one.saved_s / max(1, one.num_bytes) / max(1, at_us - one.used_at_us))
        gone = []
        for slot in free:
            if self._num_bytes + num_bytes <= self.budget_bytes:
                break
            self.take(slot.key)
            self.evictions.append(Eviction(slot.key, self.name, slot.num_bytes, at_us))
            gone.append(slot)
        return gone
