"""Evaluations of a hosted model: the engine, a bar while it works, and where the result goes."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import Progress

from engramos.errors import ConfigError, MissingExtraError
from engramos.evals.plot import check_installed

_PACKAGES = ("torch", "transformers", "safetensors")


class Outputs:
    """Where a result goes; what cannot be is said before any work."""

    def __init__(self, ctx: typer.Context, name: str, folder: Path | None, plot: Path | None, *, is_json: bool) -> None:
        """Take what the command was given.

        Raises:
            ConfigError: if the folder is a file, or the plot's name has no known format.
            MissingExtraError: if a plot is asked for, and matplotlib is not installed.
        """
        self.folder, self._plot, self._name = folder, plot, name
        self._is_json = is_json or bool((ctx.obj or {}).get("json"))
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file: give a folder for the results")
        if plot is not None:
            check_installed(plot)

    def draw(self, draw: Any) -> None:
        """Call `draw` with where the plot goes, if anywhere; say it on stderr where it cannot be drawn."""
        path = self._plot
        if path is None and self.folder is not None:
            path = self.folder / f"{self._name}.png"
            try:
                check_installed(path)
            except MissingExtraError as error:
                sys.stderr.write(f"no plot is drawn: {error}\n")
                return
        if path is not None:
            draw(path)
            self.tell([path])

    def tell(self, paths: Sequence[Path]) -> None:
        """Say on stderr what was written."""
        for path in paths:
            sys.stderr.write(f"wrote {path}\n")

    def show(self, result: Any, shown: RenderableType) -> None:
        """Print the result: one line of JSON, or tables; in both cases what was left out goes to stderr too."""
        if self._is_json:
            for line in result["settings"]["left_out"]:
                sys.stderr.write(f"left out: {line}\n")
            sys.stdout.write(json.dumps(result) + "\n")
            return
        Console(width=None if sys.stdout.isatty() else 220, highlight=False).print(shown)


def check_packages() -> None:
    """Refuse to begin where a package that hosts models is missing.

    Raises:
        MissingExtraError: with those that are.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(" and ".join(missing), "local")


def open_engine(model: str, dtype: str, device: str, threads: int) -> Any:
    """Return an engine that hosts the model, with this many threads.

    Raises:
        ConfigError, ModelError, UnsupportedError: if it cannot.
    """
    import torch
    from transformers.utils import logging

    from engramos.engines.transformers import Transformers

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    return Transformers(model=model, dtype=dtype, device=device)


@contextmanager
def bars(name: str, total: int) -> Iterator[Any]:
    """Yield what counts steps on a bar; nothing is shown where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=total)
        yield lambda num: shown.advance(task, num)
