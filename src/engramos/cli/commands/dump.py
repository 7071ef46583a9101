"""`engramos dump`: everything in one file."""

from pathlib import Path
from typing import Annotated

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.screen import plural, size

EXAMPLE = "engramos dump memory.engramos"


def dump(
    invocation: Invocation,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, ending in .engramos.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write everything into one file, for 'engramos load'.

    It holds all versions of a user's cubes; vectors are left out, because a load makes them anew.
    """
    output = invocation.output
    with invocation.memory() as memory, output.progress("dumping", None):
        dumped = memory.dump(target, overwrite=overwrite)
    if output.is_json:
        numbers = {"cubes": dumped.num_cubes, "versions": dumped.num_versions, "bytes": dumped.num_bytes}
        output.object({"file": str(dumped.path), **numbers})
        return
    output.line(str(dumped.path))
    output.say(
        f"{plural(dumped.num_cubes, 'cube')} with {plural(dumped.num_versions, 'version')}, {size(dumped.num_bytes)}"
    )
