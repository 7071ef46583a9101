"""`engramos forget`: supersede, hide or erase cubes."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.exit_codes import ERROR, OK, USAGE
from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Bounds, Device, Dtype, MaybeModel, load_engine, read_bounds
from engramos.cli.options import DryRun, States, Where, read_at
from engramos.cli.output import Output, one_line
from engramos.cli.repairs import (
    adapters_of,
    facts_left_out,
    forget_with_model,
    repair_json,
    show_left_out,
    show_repairs,
)
from engramos.cli.screen import plural
from engramos.errors import CubeNotFoundError

if TYPE_CHECKING:
    from engramos.memory import MemoryOS
    from engramos.rows import Filter
    from engramos.verbs.forget import Forgotten
    from engramos.verbs.parametric.forget import Repair

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
    model: MaybeModel = None,
    bounds: Bounds = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    states: States = None,
) -> int:
    """Supersede, hide or erase cubes.

    Which: those of the ids, those of a subject, or those that all filters fit. An erasure removes text, versions,
    index, vectors and what was derived, and asks first where it is of many. With --model, adapters that knew it are
    written anew without it.
    """
    which = {"cube_ids": tuple(cube_ids or ()), "where": _wanted(where, states, subject), "subject": subject}
    how: dict[str, Any] = {"act": act, "by": by, "at": at, "reason": reason, "expected_version": expected_version}
    engine = None if model is None else load_engine(model, dtype, device)
    with invocation.memory() as memory:
        how["scope"] = where.scope(memory.scope)
        if act == "erase" and not (cube_ids or is_sure or dry_run):
            chosen = memory.forget(**which, **how, dry_run=True).cube_ids
            if len(chosen) > 1:
                if (code := _confirm(invocation.output, memory, chosen)) != OK:
                    return code
                # what was shown is what is erased, whatever was added meanwhile
                which = {"cube_ids": chosen}
        if engine is None:
            before = adapters_of(memory)
            forgotten, repairs = memory.forget(**which, **how, dry_run=dry_run), ()
            num_left = facts_left_out(before, forgotten.cube_ids)
        else:
            given = {"limits": read_bounds(bounds), "is_named": bool(cube_ids), "dry_run": dry_run}
            done = forget_with_model(memory, engine, which, how, **given)
            forgotten, repairs, num_left = done.forgotten, done.repairs, 0
    _show(invocation.output, forgotten, repairs, num_left, is_dry_run=dry_run)
    return OK


def _wanted(where: Where, states: Sequence[str] | None, subject: str | None) -> "Filter | None":
    wanted = where.filter(states)
    if wanted is not None or where.session is None or subject is not None:
        return wanted
    from engramos.rows import Filter

    return Filter()


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


def _show(
    output: Output, forgotten: "Forgotten", repairs: "Sequence[Repair]", num_left: int, *, is_dry_run: bool
) -> None:
    num = plural(len(forgotten.cube_ids), "cube")
    if output.is_json:
        repaired = {"repairs": list(map(repair_json, repairs)), "facts_left_out": num_left}
        output.object(_as_json(forgotten, is_dry_run=is_dry_run) | repaired)
    else:
        for cube_id in forgotten.cube_ids:
            output.line(cube_id)
        output.say(f"would {forgotten.act} {num}" if is_dry_run else _done(forgotten, num))
        show_repairs(output, repairs, is_dry_run=is_dry_run)
        show_left_out(output, num_left, is_dry_run=is_dry_run)
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
