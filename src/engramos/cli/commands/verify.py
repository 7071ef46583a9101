"""`engramos verify`: check that everything stored is whole."""

from pathlib import Path
from typing import Annotated

import typer

from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.screen import plural, show_rows

EXAMPLE = "engramos verify --repair"


def verify(
    invocation: Invocation,
    repairs: Annotated[bool, typer.Option("--repair", help="Make anew what can be made from what is whole.")] = False,
    repair_from: Annotated[
        Path | None, typer.Option("--repair-from", metavar="FOLDER", help="Take what is damaged from this backup.")
    ] = None,
) -> int:
    """Check that everything stored is whole.

    The exit code is 1 where it is not.
    """
    with invocation.memory() as memory:
        report = memory.verify(repair=repairs, repair_from=repair_from)
    output = invocation.output
    if output.is_json:
        names = ("what", "which", "problem", "is_repaired")
        findings = [{name: getattr(one, name) for name in names} for one in report.findings]
        output.object({"is_sound": report.is_sound, "findings": findings, "checked": dict(report.num_checked)})
        return OK if report.is_sound else ERROR
    rows = [(one.what, one.which, "repaired" if one.is_repaired else "", one.problem) for one in report.findings]
    if rows:
        show_rows(output, ("what", "which", "repaired", "problem"), rows)
    if report.is_sound:
        num = plural(sum(report.num_checked.values()), "thing")
        output.say(
            f"{plural(len(rows), 'finding')} repaired" if rows else f"{num} checked, everything is whole", "good"
        )
        return OK
    output.warn(f"{plural(len(rows), 'finding')}: run 'engramos verify --repair', or --repair-from a backup")
    return ERROR
