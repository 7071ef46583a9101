"""`engramos forget`: supersede, hide or erase cubes."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.exit_codes import ERROR, OK, USAGE
from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun, States, Where, read_at
from engramos.cli.output import Output, one_line
from engramos.cli.screen import plural
from engramos.errors import CubeNotFoundError

if TYPE_CHECKING:
    from engramos.memory import MemoryOS
    from engramos.verbs.forget import Forgotten

EXAMPLE = "engramos forget --act erase --subject Ana --yes"
DONE = {"supersede": "superseded", "expire": "hid", "erase": "erased"}
MAX_SHOWN = 5

Act = Annotated[
    str, typer.Option("--act", help="supersede: no longer true. expire: hidden, can be restored. erase: gone.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which cubes, by id.")]
Subject = Annotated[
    str | None, typer.Option("--subject", help="All that this person or thing said, is labelled with, or is named in.")
]
By = Annotated[str | None, typer.Option("--by", metavar="ID", help="For supersede: the cube that is true now.")]
EndsAt = Annotated[
    datetime | None,
    typer.Option("--at", help="For supersede: since when; now if left out.", metavar="DATE", parser=read_at),
]
Expected = Annotated[int | None, typer.Option("--expected-version", help="For one cube: the version that you read.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept, so do not repeat the content in it.")]
IsSure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before an erasure.")]


def forget(
    invocation: Invocation,
    where: Where,
    act: Act,
    cube_ids: Ids = None,
    subject: Subject = None,
    by: By = None,
    at: EndsAt = None,
    expected_version: Expected = None,
    reason: Reason = "",
    is_sure: IsSure = False,
    dry_run: DryRun = False,
    states: States = None,
) -> int:
    """Supersede, hide or erase cubes.

    Which: those of the ids, those of a subject, or those that all filters fit. An erasure removes text, versions,
    index, vectors and what was derived, and asks first where it is of many.
    """
    wanted = where.filter(states)
    if wanted is None and where.session is not None and subject is None:
        from engramos.rows import Filter

        wanted = Filter()
    which = {"cube_ids": tuple(cube_ids or ()), "where": wanted, "subject": subject}
    how: dict[str, Any] = {"act": act, "by": by, "at": at, "reason": reason, "expected_version": expected_version}
    with invocation.memory() as memory:
        how["scope"] = where.scope(memory.scope)
        if act == "erase" and not (cube_ids or is_sure or dry_run):
            chosen = memory.forget(**which, **how, dry_run=True).cube_ids
            if len(chosen) > 1:
                if (code := _confirm(invocation.output, memory, chosen)) != OK:
                    return code
                # what was shown is what is erased, whatever was added meanwhile
                which = {"cube_ids": chosen}
        forgotten = memory.forget(**which, **how, dry_run=dry_run)
    _show(invocation.output, forgotten, is_dry_run=dry_run)
    return OK


def _confirm(output: Output, memory: "MemoryOS", chosen: Sequence[str]) -> int:
    if not output.can_ask:
        output.error(f"this would erase {plural(len(chosen), 'cube')}: look with --dry-run, then repeat it with --yes")
        return USAGE
    for cube_id in chosen[:MAX_SHOWN]:
        output.warn(f"  {cube_id}  {_beginning(memory, cube_id)}")
    if len(chosen) > MAX_SHOWN:
        output.warn(f"  and {len(chosen) - MAX_SHOWN} more")
    if output.ask(f"Erase {plural(len(chosen), 'cube')} for good?"):
        return OK
    output.say("nothing was erased")
    return ERROR


def _beginning(memory: "MemoryOS", cube_id: str) -> str:
    try:
        return one_line(memory.get(cube_id).text)[:40]
    except CubeNotFoundError:
        return "(derived, and not yours to read)"


def _show(output: Output, forgotten: "Forgotten", *, is_dry_run: bool) -> None:
    num = plural(len(forgotten.cube_ids), "cube")
    if output.is_json:
        output.object(_as_json(forgotten, is_dry_run=is_dry_run))
    else:
        for cube_id in forgotten.cube_ids:
            output.line(cube_id)
        output.say(f"would {forgotten.act} {num}" if is_dry_run else _done(forgotten, num))
    for path in forgotten.backups:
        output.warn(f"the backup {path} may still hold what was erased: delete it too")


def _done(forgotten: "Forgotten", num: str) -> str:
    text = f"{DONE[forgotten.act]} {num}"
    if forgotten.act != "erase" or not forgotten.cube_ids:
        return text
    if forgotten.is_scrubbed:
        return f"{text}; the files hold no trace of {'it' if len(forgotten.cube_ids) == 1 else 'them'}"
    return f"{text}; a reader still holds the files, traces go as soon as it closes"


def _as_json(forgotten: "Forgotten", *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "act": forgotten.act,
        "ids": list(forgotten.cube_ids),
        "is_dry_run": is_dry_run,
        "is_scrubbed": forgotten.is_scrubbed,
        "blobs": list(forgotten.blobs),
        "backups": list(forgotten.backups),
    }
