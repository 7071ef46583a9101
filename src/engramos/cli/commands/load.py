"""`engramos load`: bring a dump in."""

from pathlib import Path
from typing import Annotated

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.screen import plural

EXAMPLE = "engramos load memory.engramos --folder restored"


def load(
    invocation: Invocation,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What 'engramos dump' wrote.")],
) -> None:
    """Bring in everything that a dump holds.

    What is here already stays; what was erased here stays erased. The memories become the user's of this command.
    """
    output = invocation.output
    with invocation.memory() as memory, output.progress("loading", None) as step:
        loaded = memory.load(path, progress=step)
    if output.is_json:
        names = ("num_cubes", "num_versions", "num_known", "num_erased")
        output.object({"file": str(path), **{name.removeprefix("num_"): getattr(loaded, name) for name in names}})
        return
    known = f", {loaded.num_known:,} known before" if loaded.num_known else ""
    erased = f", {loaded.num_erased:,} erased here before" if loaded.num_erased else ""
    versions = plural(loaded.num_versions, "version")
    output.line(f"{path}: {plural(loaded.num_cubes, 'new cube')} with {versions}{known}{erased}")
