"""`engramos backup`: a copy of the whole memory."""

from pathlib import Path
from typing import Annotated

import typer

from engramos.cli.invocation import Invocation

EXAMPLE = "engramos backup copy-of-monday"


def backup(
    invocation: Invocation,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder; --folder opens it later.")],
) -> None:
    """Copy the whole memory into a new folder."""
    with invocation.memory() as memory:
        made = memory.backup(target)
    if invocation.output.is_json:
        invocation.output.object({"folder": str(made)})
        return
    invocation.output.line(str(made))
    invocation.output.say("it holds everything, erasures after today excepted: keep it as safe as the memory")
