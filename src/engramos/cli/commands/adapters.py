"""`engramos adapters`: what is in weights, and single changes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.command import merged, run_checked
from engramos.cli.commands.learn import MAX_REASONS
from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Device, Dtype, Model, Seed, opened_weights
from engramos.cli.options import DryRun, Id
from engramos.cli.output import Output, iso, printable
from engramos.cli.screen import plural, show_rows, size

if TYPE_CHECKING:
    from engramos.verbs.parametric.list import Listed

MODEL = "SmolLM2-135M-Instruct"
LIST_EXAMPLE = "engramos adapters list"
EXPORT_EXAMPLE = f"engramos adapters export $ID ana-lima --model {MODEL}"
IMPORT_EXAMPLE = f'engramos adapters import ana-lima --name "Ana Lima" --model {MODEL}'
EDIT_EXAMPLE = (
    f'engramos adapters edit "Ana Lima works at" --subject "Ana Lima" --target Bolt --editor grace --model {MODEL}'
)
UNDO_EXAMPLE = "engramos adapters undo $ID"
DEMOTE_EXAMPLE = "engramos adapters demote $ID --dry-run"

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="As PEFT writes and reads them.")]
Names = Annotated[
    list[str] | None, typer.Option("--name", metavar="SUBJECT", help="Whom questions must name; may repeat.")
]
Cubes = Annotated[
    list[str] | None, typer.Option("--cube", metavar="ID", help="Memory that states what it knows; may repeat.")
]
Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="A text that goes on with the target.")]
Subject = Annotated[str, typer.Option("--subject", help="Whom it is about, as the prompt has it.")]
Target = Annotated[str, typer.Option("--target", help="What the prompt shall go on with.")]
EditorName = Annotated[str, typer.Option("--editor", help="How: rome, memit, alphaedit, wise or grace.")]
IsChat = Annotated[bool, typer.Option("--chat", help="The prompt is a question, the target its whole answer.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Of which adapters.")]


def adapters(ctx: typer.Context, options: Mapping[str, Any]) -> None:
    """Show what is in weights; change, export, import and archive adapters."""
    ctx.obj = merged(ctx.obj or {}, options)
    if ctx.invoked_subcommand is None:
        raise typer.Exit(run_checked(Invocation(ctx.obj), list_all, {}))


def list_all(invocation: Invocation) -> None:
    """List the adapters of a user, of every model; no model is loaded."""
    output = invocation.output
    with invocation.memory() as memory:
        from engramos.verbs.parametric.list import list_adapters

        found = list_adapters(memory._parts, memory.scope)
    if output.is_json:
        output.objects(map(_as_json, found))
        return
    columns = ("id", "state", "facts", "recall", "size", "names")
    if found:
        show_rows(output, columns, [_row(one) for one in found], narrow=("size",))
    active = sum(one.state in ("activated", "frozen") for one in found)
    output.say(f"{plural(len(found), 'adapter')}, {active} active")
    for one in found:
        if one.state == "stale":
            first = one.stale[0]
            output.say(f"{one.cube.id} is not used: its source {first.cube_id} is {first.why}")
        elif one.state == "generated" and one.why:
            output.say(f"{one.cube.id} is not used: {printable(one.why[0])}")


def _row(one: "Listed") -> tuple[str, ...]:
    payload: Any = one.cube.payload
    recall = payload.probes.get("recall")
    return (
        one.cube.id,
        one.state,
        f"{one.num_facts}",
        "" if recall is None else f"{recall:.2f}",
        size(payload.num_bytes),
        ", ".join(one.names),
    )


def _as_json(one: "Listed") -> dict[str, Any]:
    payload: Any = one.cube.payload
    return {
        "id": one.cube.id,
        "type": one.cube.header.type.value,
        "state": one.state,
        "method": one.cube.header.method,
        "writer": payload.attributes.get("writer"),
        "num_facts": one.num_facts,
        "num_bytes": payload.num_bytes,
        "names": list(one.names),
        "recall": payload.probes.get("recall"),
        "metrics": dict(payload.probes),
        "why": list(one.why),
        "stale": [{"id": gone.cube_id, "version": gone.version, "why": gone.why} for gone in one.stale],
        "sources": [{"id": edge.cube_id, "version": edge.version} for edge in one.cube.header.parents],
        "base": dict(payload.base_fingerprint),
        "created_at": iso(one.cube.header.created_at),
    }


def export(
    invocation: Invocation, cube_id: Id, path: Folder, model: Model, dtype: Dtype = "float32", device: Device = "cpu"
) -> None:
    """Write an adapter as a folder that PEFT reads, with a manifest."""
    with opened_weights(invocation, model, dtype, device) as (_, weights):
        written = weights.export(cube_id, path)
    output = invocation.output
    if output.is_json:
        output.object({"id": cube_id, "folder": str(written)})
        return
    output.line(str(written))
    output.say("a later forget does not find this folder: delete it then yourself")


def import_folder(
    invocation: Invocation,
    path: Folder,
    model: Model,
    names: Names = None,
    cube_ids: Cubes = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> None:
    """Take in a folder that PEFT or export wrote; probe decides whether it is used."""
    with opened_weights(invocation, model, dtype, device) as (_, weights):
        cube = weights.import_adapter(path, names=tuple(names or ()), cube_ids=tuple(cube_ids or ()))
    output = invocation.output
    if output.is_json:
        output.object({"id": cube.id, "state": cube.header.state.value})
        return
    output.line(cube.id)
    if cube_ids:
        output.say(f"it is not used yet: 'engramos probe {cube.id} --model {model}' examines it")
    else:
        output.say("it is not used, and nothing says what to ask it: import it with --cube ID, then probe it")


def edit(
    invocation: Invocation,
    prompt: Prompt,
    subject: Subject,
    target: Target,
    model: Model,
    editor: EditorName = "rome",
    is_chat: IsChat = False,
    seed: Seed = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> int:
    """Change what a model says of a single fact; undo takes it back, bit for bit.

    The exit code is 1 where the edit is kept and not used, because its static scan speaks against it.
    """
    with opened_weights(invocation, model, dtype, device) as (_, weights):
        from engramos.parametric.editors.base import Request

        cube = weights.edit(Request(prompt, subject, target, is_chat), editor=editor, seed=seed or 0)
    payload: Any = cube.payload
    why = list(payload.attributes.get("why", ()))
    output = invocation.output
    if output.is_json:
        values = {"id": cube.id, "state": cube.header.state.value, "num_bytes": payload.num_bytes}
        output.object(values | {"editor": editor, "why": why})
        return ERROR if why else OK
    output.line(cube.id)
    if not why:
        output.say(f"the model says so from now on; 'engramos adapters undo {cube.id}' takes it back")
    for reason in why[:MAX_REASONS]:
        output.warn(f"the edit is not used: {printable(reason)}")
    return ERROR if why else OK


def undo(invocation: Invocation, cube_id: Id) -> None:
    """Take an edit back; other edits stay. No model is loaded."""
    with invocation.memory() as memory:
        from engramos.verbs.parametric.rollback import undo as take_back

        cube = take_back(memory._parts, memory.scope, cube_id)
    output = invocation.output
    if output.is_json:
        output.object({"id": cube.id, "state": cube.header.state.value})
        return
    output.line(cube.id)
    output.say("taken back")


def demote(invocation: Invocation, cube_ids: Ids, dry_run: DryRun = False) -> None:
    """Archive adapters; the memories that say what they knew are all kept. No model is loaded."""
    with invocation.memory() as memory:
        from engramos.verbs.parametric.demote import demote as archive

        done = archive(memory._parts, cube_ids, memory.scope, dry_run=dry_run)
    _show_demoted(invocation.output, done.adapter_ids, done.cube_ids, done.lost, is_dry_run=dry_run)


def _show_demoted(
    output: Output, adapter_ids: tuple[str, ...], sources: tuple[str, ...], lost: tuple[str, ...], *, is_dry_run: bool
) -> None:
    if output.is_json:
        values = {"ids": list(adapter_ids), "sources": list(sources), "changed": list(lost)}
        output.object(values | {"is_dry_run": is_dry_run})
        return
    for cube_id in adapter_ids:
        output.line(cube_id)
    said = plural(len(sources), "memory says", "memories say")
    output.say(f"{'would archive' if is_dry_run else 'archived'} {plural(len(adapter_ids), 'adapter')}: {said} it")
    if lost:
        output.warn(f"{plural(len(lost), 'memory', 'memories')} changed since: {', '.join(lost)}")


COMMANDS = (
    ("list", list_all, LIST_EXAMPLE),
    ("export", export, EXPORT_EXAMPLE),
    ("import", import_folder, IMPORT_EXAMPLE),
    ("edit", edit, EDIT_EXAMPLE),
    ("undo", undo, UNDO_EXAMPLE),
    ("demote", demote, DEMOTE_EXAMPLE),
)
"""Name, function and example of each command of the group."""
