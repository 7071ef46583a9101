"""Invocation: what the options of every command say, and the memory that they name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engramos import config
from engramos.cli.output import Output

if TYPE_CHECKING:
    from engramos.memory import MemoryOS

SETTINGS = ("folder", "tenant", "user", "agent", "embedder")


class Invocation:
    """One call of a command: its settings and its output."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.given = {name: options[name] for name in SETTINGS if options.get(name) is not None}
        self.is_debug = bool(options.get("debug"))
        self.output = Output(
            is_json=bool(options.get("json")),
            is_quiet=bool(options.get("quiet")),
            shows_progress=bool(options.get("progress")),
        )

    def settings(self) -> config.Settings:
        """Return the settings of file, environment and options."""
        return config.load(self.given)

    @contextmanager
    def memory(self, *, for_reembed: bool = False) -> "Iterator[MemoryOS]":
        """Open the memory; say so where it is a new one."""
        settings = self.settings()
        from engramos.memory import MemoryOS

        is_new = not (settings.folder / "vault.db").exists()
        opened = MemoryOS.open_for_reembed(**self.given) if for_reembed else MemoryOS.open(**self.given)
        with opened:
            if is_new:
                self.output.say(f"made a new, empty memory in {settings.folder}")
            yield opened
