"""`engramos get`: one cube."""

from typing import Annotated

import typer

from engramos.cli.as_json import cube_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import Id, KnownAt
from engramos.cli.screen import cube_block

EXAMPLE = "engramos get $ID --version 1"


def get(
    invocation: Invocation,
    cube_id: Id,
    version: Annotated[int | None, typer.Option("--version", help="This version; the newest if left out.")] = None,
    known_at: KnownAt = None,
) -> None:
    """Show one cube: its text and what is known of it."""
    with invocation.memory() as memory:
        cube = memory.get(cube_id, version=version, known_at=known_at)
    if invocation.output.is_json:
        invocation.output.object(cube_json(cube))
    else:
        invocation.output.show(cube_block(cube))
