"""`engramos restore`: bring a cube back."""

from typing import TYPE_CHECKING, Annotated

import typer

from engramos.cli.as_json import cube_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun, Id
from engramos.cli.output import Output

if TYPE_CHECKING:
    from engramos.cube import MemCube

EXAMPLE = "engramos restore $ID --version 1"


def restore(
    invocation: Invocation,
    cube_id: Id,
    version: Annotated[int | None, typer.Option("--version", help="Make this version's content the newest.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Bring a cube back, or an earlier version of it.

    What was hidden or superseded can come back; what was erased is gone.
    """
    with invocation.memory() as memory:
        cube = memory.restore(cube_id, version=version, dry_run=dry_run)
    show_version(invocation.output, cube, is_dry_run=dry_run)


def show_version(output: Output, cube: "MemCube", *, is_dry_run: bool) -> None:
    """Say which version a cube has now, or would have."""
    if output.is_json:
        output.object(cube_json(cube) | {"is_dry_run": is_dry_run})
        return
    output.line(cube.id)
    output.say(f"{'would be' if is_dry_run else 'now'} version {cube.version}")
