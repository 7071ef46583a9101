"""The two faces of every command: text and tables for people, JSON for machines.

stdout carries data only; messages and progress go to stderr. Colours and progress are for terminals.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.theme import Theme

THEME = Theme(
    {"soft": "bright_black", "id": "cyan", "name": "bold", "good": "green", "warn": "yellow", "bad": "bold red"}
)
PIPE_WIDTH = 10_000
"""Columns where nobody looks: lines are not wrapped."""


class Paper(Console):
    """A console that lets a closed pipe end the program."""

    def on_broken_pipe(self) -> None:
        """Raise the error that rich is about to hide."""
        raise BrokenPipeError


class Output:
    """Where a command writes."""

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False, shows_progress: bool = False) -> None:
        self.is_json, self.is_quiet = is_json, is_quiet
        self.shows_progress = shows_progress or (sys.stderr.isatty() and not is_quiet)
        self.is_terminal = sys.stdout.isatty()
        sys.stdout.reconfigure(errors="backslashreplace")
        self._paper = Paper(
            theme=THEME, width=None if self.is_terminal else PIPE_WIDTH, highlight=False, markup=False, emoji=False
        )
        self._notes = Console(stderr=True, theme=THEME, highlight=False, markup=False, emoji=False)

    @property
    def width(self) -> int:
        """How many columns the terminal has; very many where stdout is none."""
        return self._paper.width

    def show(self, what: RenderableType) -> None:
        """Write something for people to stdout; in a pipe, without the blanks that fill its lines."""
        if self.is_terminal:
            self._paper.print(what)
            return
        with self._paper.capture() as captured:
            self._paper.print(what)
        sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().split("\n")[:-1]))

    def line(self, text: str) -> None:
        """Write one line to stdout, just as it is."""
        sys.stdout.write(text + "\n")

    def object(self, value: Mapping[str, Any]) -> None:
        """Write one JSON object as a line of UTF-8 to stdout."""
        text = json.dumps(value, ensure_ascii=False, default=_as_json)
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def objects(self, values: Iterable[Mapping[str, Any]]) -> None:
        """Write JSON lines."""
        for value in values:
            self.object(value)

    def say(self, message: str, style: str = "soft") -> None:
        """Tell a person something on stderr, unless they asked for quiet."""
        if not self.is_quiet:
            self._note(message, style)

    def warn(self, message: str) -> None:
        """Tell a person something that they must know, quiet or not."""
        self._note(message, "warn")

    def error(self, message: str) -> None:
        """Say on stderr, in one line, why the command failed and what to do next."""
        self._note(f"error: {one_line(message)}", "bad")

    def _note(self, message: str, style: str) -> None:
        sys.stdout.flush()
        self._notes.print(printable(message), style=style, soft_wrap=not self._notes.is_terminal)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar on stderr while the block runs; yields what is to be called with each step.

        Args:
            what: what is being done, for the line of the bar.
            total: how many steps to expect; None where that is not known.
        """
        if not self.shows_progress:
            yield lambda num: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        counted = MofNCompleteColumn() if total is not None else TextColumn("{task.completed}")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), counted, TimeElapsedColumn())
        with Progress(*columns, console=self._notes, transient=self._notes.is_terminal) as bar:
            task = bar.add_task(printable(what), total=total)
            yield lambda num: bar.advance(task, num)

    def ask(self, question: str) -> bool:
        """Ask a person on the terminal; anything but y or yes is a no."""
        self._notes.print(printable(question) + " [y/N] ", end="", style="name")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @property
    def can_ask(self) -> bool:
        """Whether a person sits at the terminal."""
        return sys.stdin.isatty() and sys.stderr.isatty()


def printable(text: str) -> str:
    """Return the text with everything visible that would steer a terminal: an escape becomes a backslash and x1b.

    A memory holds what others wrote; escape sequences and overrides of the writing direction in it must stay words.
    """
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter in "\n\t" or letter.isprintable():
        return letter
    code = ord(letter)
    if code < 32 or 127 <= code < 160:
        return f"\\x{code:02x}"
    return (
        f"\\u{code:04x}" if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code <= 0xDFFF else letter
    )


def one_line(text: str) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(text.split())


def iso(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, as JSON has it: `2024-05-31T18:30:00Z`."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def day(at: datetime | None) -> str:
    """Return a time for people: the day, and the minute where it is not midnight; UTC."""
    if at is None:
        return ""
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"


def _as_json(value: object) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
