"""`engramos rollback`: switch an adapter off."""

from typing import Annotated

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun
from engramos.cli.screen import plural

EXAMPLE = "engramos rollback $ID --dry-run"

AdapterId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Of an adapter; the one that became active last if left out.")
]


def rollback(invocation: Invocation, cube_id: AdapterId = None, dry_run: DryRun = False) -> None:
    """Switch an adapter off; what it had replaced acts again. No model is loaded."""
    with invocation.memory() as memory:
        from engramos.verbs.parametric.rollback import rollback as roll_back

        done = roll_back(memory._parts, memory.scope, cube_id, dry_run=dry_run)
    output = invocation.output
    if output.is_json:
        values = {"id": done.cube.id, "restored": [cube.id for cube in done.restored], "left": list(done.left)}
        output.object(values | {"is_dry_run": dry_run})
        return
    output.line(done.cube.id)
    restored = f"; {plural(len(done.restored), 'adapter')} in its place again" if done.restored else ""
    output.say(f"{'would switch' if dry_run else 'switched'} it off{restored}")
    for cube_id in done.left:
        output.warn(f"adapter {cube_id}, which it had replaced, stays off: a source of it has changed")
