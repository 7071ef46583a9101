"""Fixtures of all tests: a clock, a folder, a memory, a clean environment, and a check for what is left open."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engramos import failpoints
from engramos.memory import MemoryOS
from engramos.testing import FakeClock


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of whoever runs the tests; only the place of evaluation data stays."""
    for name in [name for name in os.environ if name.startswith("ENGRAMOS_") and name != "ENGRAMOS_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Fail a test that leaves a thread running, a database open, or a failpoint armed."""
    threads, files = set(threading.enumerate()), open_databases()
    yield
    failpoints.arm(None)
    left = [one for one in threading.enumerate() if one not in threads and not one.daemon and _is_ours(one)]
    assert not left, f"threads left running: {left}"
    if open_databases() - files:
        gc.collect()
    assert not open_databases() - files, f"databases left open: {open_databases() - files}"


def _is_ours(thread: threading.Thread) -> bool:
    # the loop's own pool lives until the loop is closed, which is not ours to do
    return not thread.name.startswith(("asyncio_", "AnyIO"))


def open_databases() -> set[str]:
    """Return the database files that this process has open, where the system can tell."""
    found = set()
    for link in Path("/proc/self/fd").glob("*") if Path("/proc/self/fd").is_dir() else ():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.removesuffix(" (deleted)").endswith((".db", ".db-wal", ".db-shm", ".lock")):
            found.add(f"{link.name}:{target}")
    return found


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """A clock that moves only when it is told to."""
    with FakeClock() as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a memory; it does not exist yet."""
    return tmp_path / "memory"


@pytest.fixture
def memory(folder: Path) -> Iterator[MemoryOS]:
    """An open memory whose vectors need no model."""
    with MemoryOS.open(folder, embedder="hashing") as opened:
        yield opened
