"""`engramos list`: the cubes, in the order of their making."""

from typing import TYPE_CHECKING, Annotated

import typer

from engramos.cli.as_json import cube_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import AsOf, KnownAt, Limit, States, Where
from engramos.cli.screen import body, show_rows, who

if TYPE_CHECKING:
    from engramos.cube import MemCube

EXAMPLE = "engramos list --speaker Ana --limit 20"


def list_cubes(
    invocation: Invocation,
    where: Where,
    limit: Limit = 50,
    after: Annotated[str, typer.Option("--after", help="Go on after this id: the last one of the page before.")] = "",
    as_of: AsOf = None,
    known_at: KnownAt = None,
    states: States = None,
) -> None:
    """List cubes in the order of their making, one a line."""
    output = invocation.output
    with invocation.memory() as memory:
        scope = where.scope(memory.scope)
        cubes = memory.list(where.filter(states), as_of=as_of, known_at=known_at, after=after, limit=limit, scope=scope)
    if output.is_json:
        output.objects(map(cube_json, cubes))
        return
    rows = [(cube.id, _day(cube), cube.header.type.value, who(cube), body(cube)) for cube in cubes]
    if rows:
        show_rows(output, ("id", "date", "type", "who", "text"), rows, narrow=("type",))
    else:
        output.say("nothing to list")
    if 0 < limit == len(rows):
        output.say(f"there may be more: --after {rows[-1][0]}")


def _day(cube: "MemCube") -> str:
    at = cube.header.valid_at
    return "" if at is None else f"{at:%Y-%m-%d}"
