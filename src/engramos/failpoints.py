"""Failpoints: named places where a crash test may stop the process.

A failpoint costs one dictionary look-up. They are armed by the setting `failpoint` ("after_commit:kill", or
"after_commit:kill:7" for the seventh time that the place is reached), which only crash tests set.
"""

import os
import signal
import threading

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
_armed: dict[str, list] = {}
_lock = threading.Lock()


def arm(text: str | None) -> None:
    """Arm one failpoint, `NAME:ACTION[:COUNT]` with action `kill` or `raise`; None disarms all.

    Raises:
        ConfigError: if the name or the action is unknown.
    """
    _armed.clear()
    if not text:
        return
    name, _, rest = text.partition(":")
    action, _, count = rest.partition(":")
    if name not in NAMES or action not in ("kill", "raise") or (count and not count.isdigit()):
        raise ConfigError(f"failpoint {text!r}: write NAME:kill or NAME:raise, with NAME one of {', '.join(NAMES)}")
    _armed[name] = [action, int(count or 1)]


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
    raise StoreError(f"failpoint {name} reached")
