"""`engramos history`: all versions of a cube."""

from engramos.cli.as_json import cube_json, journal_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import Id
from engramos.cli.output import day, iso
from engramos.cli.screen import body, plural, show_rows

EXAMPLE = "engramos history $ID"


def history(invocation: Invocation, cube_id: Id) -> None:
    """Show all versions of a cube and who made them.

    Of an erased cube, it shows when it went.
    """
    with invocation.memory() as memory:
        found = memory.history(cube_id)
    output, stone = invocation.output, found.tombstone
    if output.is_json:
        gone = None
        if stone is not None:
            gone = {"id": stone.cube_id, "erased_at": iso(stone.erased_at), "num_versions": stone.num_versions}
        versions = [cube_json(cube) for cube in found.versions]
        output.object({"versions": versions, "journal": list(map(journal_json, found.journal)), "tombstone": gone})
        return
    if stone is not None:
        output.line(f"erased {iso(stone.erased_at)}, with {plural(stone.num_versions, 'version')}")
    if found.versions:
        rows = [
            (
                f"{cube.version}",
                day(cube.header.created_at),
                cube.header.state.value,
                cube.header.method,
                cube.header.actor,
                body(cube),
            )
            for cube in found.versions
        ]
        show_rows(output, ("version", "known since", "state", "method", "by", "text"), rows)
