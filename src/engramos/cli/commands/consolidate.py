"""`engramos consolidate`: supersede duplicates and statements that a later one corrects."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun, Session
from engramos.cli.output import Output
from engramos.cli.screen import plural

if TYPE_CHECKING:
    from engramos.verbs.consolidate import Consolidated

EXAMPLE = "engramos consolidate --dry-run"


def consolidate(
    invocation: Invocation,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", help="slot_conflicts, near_duplicates, mention_links; may repeat; in this order."),
    ] = None,
    session: Session = None,
    undo: Annotated[
        str | None, typer.Option("--undo", metavar="REQUEST", help="Bring back what this request superseded.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Supersede what is said twice, and what a later statement corrects.

    No language model is asked, and nothing is removed: restore brings a cube back, --undo brings back a whole run.
    """
    from engramos.cli.options import Where

    with invocation.memory() as memory:
        scope = Where({"session": session}).scope(memory.scope)
        how: dict[str, Any] = {"methods": methods} if methods else {}
        done = memory.consolidate(**how, undo=undo, dry_run=dry_run, scope=scope)
    _show(invocation.output, done, is_undo=undo is not None)


def _show(output: Output, done: "Consolidated", *, is_undo: bool) -> None:
    if output.is_json:
        output.object(_as_json(done))
        return
    would = "would have " if done.is_dry_run else ""
    if is_undo:
        for cube_id in done.restored:
            output.line(cube_id)
        output.say(f"{would}brought back {plural(len(done.restored), 'cube')}")
        if done.left:
            output.warn(f"{plural(len(done.left), 'cube')} changed since and stay as they are")
        return
    for step in done.steps:
        for one in step.verdicts:
            output.line(f"{one.cube_id} {one.by_id} {one.reason}")
        for link in step.links:
            output.line(f"{link.from_id} {link.to_id} {link.weight:.2f}")
        found = plural(len(step.links), "link") if step.links else plural(len(step.verdicts), "cube") + " superseded"
        undo = f"; undo it with --undo {step.request_id}" if step.request_id else ""
        output.say(f"{step.method}: {'would be: ' if done.is_dry_run else ''}{found}{undo}")


def _as_json(done: "Consolidated") -> dict[str, Any]:
    steps = [
        {
            "method": step.method,
            "request_id": step.request_id,
            "superseded": [{"id": one.cube_id, "by": one.by_id, "reason": one.reason} for one in step.verdicts],
            "links": [{"from": one.from_id, "to": one.to_id, "weight": round(one.weight, 4)} for one in step.links],
        }
        for step in done.steps
    ]
    return {
        "steps": steps,
        "restored": list(done.restored),
        "left": list(done.left),
        "is_dry_run": done.is_dry_run,
    }
