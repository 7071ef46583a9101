"""`engramos explain`: where a cube comes from, and how it fares for a question."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from engramos.cli.as_json import cube_json, journal_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import AskedAt, AsOf, Id
from engramos.cli.output import Output, day, iso
from engramos.cli.screen import bars, cube_block, plural, show_rows

if TYPE_CHECKING:
    from engramos.verbs.explain import Explanation, Placing

EXAMPLE = 'engramos explain $ID "When is tea?"'


def explain(
    invocation: Invocation,
    cube_id: Id,
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="Why the cube was found for it, or was not.")
    ] = None,
    asked_at: AskedAt = None,
    as_of: AsOf = None,
) -> None:
    """Show where a cube comes from, and why it is found.

    Who made and changed it, how often it was used, and how it fares for a question.
    """
    with invocation.memory() as memory:
        found = memory.explain(cube_id, question, asked_at=asked_at, as_of=as_of)
    if invocation.output.is_json:
        invocation.output.object(_as_json(found))
    else:
        _show(invocation.output, found)


def _as_json(found: "Explanation") -> dict[str, Any]:
    usage, placing = found.usage, found.placing
    return {
        "cube": cube_json(found.cube),
        "usage": {"uses": usage.uses, "last_used_at": iso(usage.last_used_at), "strength": usage.strength},
        "children": [
            {"id": child, "version": version, "relation": edge.relation.value, "of_version": edge.version}
            for child, version, edge in found.children
        ],
        "journal": list(map(journal_json, found.journal)),
        "placing": None if placing is None else _placing_json(placing),
    }


def _placing_json(placing: "Placing") -> dict[str, Any]:
    values = {"rank": placing.rank, "score": placing.score, "parts": dict(placing.parts)}
    return values | {"num_candidates": placing.num_candidates, "reason": placing.reason}


def _show(output: Output, found: "Explanation") -> None:
    output.show(cube_block(found.cube))
    used = found.usage.last_used_at
    output.show(Text(f"\nUsed {plural(found.usage.uses, 'time')}{f', last {day(used)}' if used else ''}"))
    for child, version, edge in found.children:
        output.show(Text(f"{child} v{version} is {edge.relation} version {edge.version}"))
    if found.placing is not None:
        output.show(Text(f"\nFor the question: {found.placing.reason}", "name"))
        output.show(bars(found.placing.parts))
    output.show(Text("\nChanges", "name"))
    rows = [(f"{row.version}", day(row.at), row.kind, row.actor, row.reason) for row in found.journal]
    show_rows(output, ("version", "at", "change", "by", "reason"), rows)
