"""The checks of `engramos doctor`, one function each."""

import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engramos
from engramos.cli.screen import plural, size
from engramos.config import Settings
from engramos.errors import EmbedderMismatchError, EngramosError

OK, WARNING, BROKEN = "ok", "warning", "broken"
LITTLE_SPACE_BYTES = 1_000_000_000
NO_SPACE_BYTES = 50_000_000
OLDEST_SQLITE = (3, 38, 0)
"""The first whose JSON functions are always there; RETURNING came with 3.35."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    """`ok`, `warning` or `broken`."""
    found: str
    next_step: str = ""
    """What to do where it is not ok."""


def check_all(settings: Settings, given: Mapping[str, Any]) -> list[Check]:
    """Return all checks of a memory and of what it runs on.

    Args:
        settings: the settings in use.
        given: those of them that options gave, to open the memory with.
    """
    checks = [
        Check("engramos", OK, engramos.__version__),
        Check("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _sqlite(),
        _full_text(),
        _embedder(settings),
        _disk(settings.folder),
    ]
    if settings.durability != "full":
        checks.append(
            Check("durability", WARNING, settings.durability, "power loss may take the newest writes; set it to full")
        )
    return checks + _memory(settings, given)


def _sqlite() -> Check:
    if sqlite3.sqlite_version_info >= OLDEST_SQLITE:
        return Check("sqlite", OK, sqlite3.sqlite_version)
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return Check("sqlite", BROKEN, sqlite3.sqlite_version, f"use a Python with SQLite {oldest} or newer")


def _full_text() -> Check:
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5 (text)")
    except sqlite3.Error as error:
        return Check("full text", BROKEN, f"SQLite has no FTS5 ({error})", "use a Python whose SQLite has FTS5")
    return Check("full text", OK, "FTS5")


def _embedder(settings: Settings) -> Check:
    if settings.embedder == "none":
        return Check("embedder", OK, "none: searches go by words alone")
    from engramos.embedders import ROLE

    try:
        name, parameters = ROLE.read(settings.embedder)
        key = {} if settings.embedder_key is None else {"api_key": settings.embedder_key}
        method = ROLE.make(name, **parameters | key)
        began = time.perf_counter()
        method.embed(["Is this embedder usable?"])
    except EngramosError as error:
        known = ", ".join((*ROLE.names(), "none"))
        return Check("embedder", BROKEN, str(error), f"or set another embedder: {known}")
    took_ms = (time.perf_counter() - began) * 1_000
    return Check("embedder", OK, f"{method.fingerprint}; model checked, loaded and run in {took_ms:.0f} ms")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_nearest(folder)).free
    if free < NO_SPACE_BYTES:
        return Check("disk", BROKEN, f"{size(free)} free", "make room, or move the memory to another disk")
    if free < LITTLE_SPACE_BYTES:
        return Check("disk", WARNING, f"{size(free)} free", "make room soon")
    return Check("disk", OK, f"{size(free)} free")


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _memory(settings: Settings, given: Mapping[str, Any]) -> list[Check]:
    path = settings.folder / "vault.db"
    if not path.exists():
        there = _nearest(settings.folder)
        if not there.is_dir() or not os.access(there, os.W_OK):
            problem = f"{there} is no folder" if not there.is_dir() else f"{there} cannot be written"
            return [Check("memory", BROKEN, problem, "choose a folder that is writable, as in --folder ~/memory")]
        return [Check("memory", OK, f"none in {settings.folder} yet: the first 'engramos add' makes it")]
    from engramos.memory import MemoryOS

    checks = []
    try:
        try:
            memory = MemoryOS.open(**given)
        except EmbedderMismatchError as error:
            checks.append(Check("vectors", BROKEN, "of another embedder", str(error)))
            memory = MemoryOS.open_for_reembed(**given)
        with memory:
            numbers = memory.stats()
    except EngramosError as error:
        return [*checks, Check("memory", BROKEN, str(settings.folder), str(error))]
    found = f"{plural(numbers['cubes'], 'cube')} of {numbers['user']}, {size(numbers['folder_bytes'])}"
    checks.append(Check("memory", OK, f"{settings.folder}: {found}"))
    checks.append(Check("schema", OK, f"version {_schema(path)}"))
    checks.append(Check("made vectors", OK, numbers["embedder"] or "none yet"))
    return [*checks, _jobs(numbers["jobs"]), _backups(numbers["backups"])]


def _schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def _jobs(jobs: Mapping[str, int]) -> Check:
    text = ", ".join(f"{num} {name}" for name, num in jobs.items()) or "none waiting"
    if any(name.endswith("/dead") for name in jobs):
        return Check("jobs", WARNING, text, "a job failed at its last attempt: run 'engramos verify', then report it")
    return Check("jobs", OK, text)


def _backups(backups: list[str]) -> Check:
    if not backups:
        return Check("backups", OK, "none made; 'engramos backup FOLDER' makes one")
    gone = [path for path in backups if not Path(path).exists()]
    return Check("backups", OK, f"{len(backups)} made, {len(gone)} of them not in place any more")
