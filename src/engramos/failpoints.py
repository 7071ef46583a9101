"""Failpoints: named places where a crash test may stop the process.

A failpoint costs one dictionary look-up. They are armed by the setting `failpoint` ("after_commit:kill", or
"after_commit:kill:7" for the seventh time that the place is reached), which only crash tests set.
"""

import os
import signal
import threading
from collections.abc import Callable

from engramos.errors import ConfigError, StoreError

NAMES = (
    "before_apply",
    "before_commit",
    "after_commit",
    "before_checkpoint",
    "after_checkpoint",
    "before_scrub",
    "blob_written",
    "blob_renamed",
    "before_migration",
    "after_migration",
)
ACTIONS = ("kill", "raise", "call")
_armed: dict[str, list] = {}
_lock = threading.Lock()


def arm(text: str | None, call: Callable[[], object] | None = None) -> None:
    """Arm one failpoint, `NAME:ACTION[:COUNT]` with action `kill`, `raise` or `call`; None disarms all.

    Args:
        text: which, and what is to happen there.
        call: what the action `call` calls, such as a power cut of a simulated disk.

    Raises:
        ConfigError: if the name or the action is unknown.
    """
    _armed.clear()
    if not text:
        return
    name, _, rest = text.partition(":")
    action, _, count = rest.partition(":")
    if (
        name not in NAMES
        or action not in ACTIONS
        or (count and not count.isdigit())
        or (action == "call") != bool(call)
    ):
        raise ConfigError(f"failpoint {text!r}: write NAME:kill or NAME:raise, with NAME one of {', '.join(NAMES)}")
    _armed[name] = [action, int(count or 1), call]


def reach(name: str) -> None:
    """Do what is armed at this place, if anything is.

    Raises:
        StoreError: where `raise` is armed.
    """
    if name not in _armed:
        return
    with _lock:
        armed = _armed[name]
        armed[1] -= 1
        if armed[1] != 0:
            return
    if armed[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed[0] == "call":
        armed[2]()
        return
    raise StoreError(f"failpoint {name} reached")
