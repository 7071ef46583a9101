"""Registering a command: its own options, those of every command, its example, and its errors."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from engramos.cli.exit_codes import OK, exit_code
from engramos.cli.invocation import Invocation
from engramos.cli.options import WHICH, Where
from engramos.errors import EngramosError

_PANEL = "Options of every command"


def _everywhere(
    folder: Annotated[
        str | None, typer.Option("--folder", "-f", help="Where the memory lies.", rich_help_panel=_PANEL)
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose memory it is.", rich_help_panel=_PANEL)] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The tenant that the user belongs to.", rich_help_panel=_PANEL)
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", help="The agent that writes; a search finds its alone.", rich_help_panel=_PANEL),
    ] = None,
    embedder: Annotated[
        str | None, typer.Option("--embedder", help="What makes vectors; none for words alone.", rich_help_panel=_PANEL)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines.", rich_help_panel=_PANEL)] = False,
    progress: Annotated[
        bool, typer.Option("--progress", help="Show progress without a terminal too.", rich_help_panel=_PANEL)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No messages but errors and warnings.", rich_help_panel=_PANEL)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from.", rich_help_panel=_PANEL)
    ] = False,
) -> None:
    """Declare the options that every command has, before or after its name."""


EVERYWHERE = tuple(inspect.signature(_everywhere).parameters.values())
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def register(app: typer.Typer, function: Callable[..., int | None], name: str, panel: str, example: str) -> None:
    """Make `function(invocation, ...)` the command `name`; what it returns is the exit code, None is 0.

    A parameter `where` stands for all options of `WHICH`.
    """
    parameters = inspect.signature(function).parameters
    own = [one for name, one in parameters.items() if name not in ("invocation", "where")]
    which = WHICH if "where" in parameters else ()

    @wraps(function)
    def call(ctx: typer.Context, **given: Any) -> None:
        if which:
            given["where"] = Where({one.name: given.pop(one.name) for one in which})
        after = {one.name: given.pop(one.name) for one in EVERYWHERE}
        raise typer.Exit(run_checked(Invocation(merged(ctx.obj or {}, after)), function, given))

    _sign(call, [*own, *which])
    epilog = f"[bold]Example[/]\n\n[cyan]{example.replace('[', chr(92) + '[')}[/]"
    app.command(name, rich_help_panel=panel, epilog=epilog, no_args_is_help=False)(call)


def register_root(app: typer.Typer, function: Callable[..., None]) -> None:
    """Make `function(ctx, options, ...)` what runs before every command, with the options given before its name."""
    own = [one for one in inspect.signature(function).parameters.values() if one.name not in ("ctx", "options")]

    @wraps(function)
    def call(ctx: typer.Context, **given: Any) -> None:
        function(ctx, {one.name: given.pop(one.name) for one in EVERYWHERE}, **given)

    _sign(call, own)
    app.callback(invoke_without_command=True)(call)


def _sign(call: Any, own: list[inspect.Parameter]) -> None:
    order = [_CONTEXT, *own, *EVERYWHERE]
    for one in order[1:]:
        _name_value(one)
    keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in order]
    call.__signature__ = inspect.Signature(keyword)
    call.__annotations__ = {one.name: one.annotation for one in order}


def _name_value(parameter: inspect.Parameter) -> None:
    """Give an option's value a name for the help, where it has none; a switch has no value."""
    kind, info = get_args(parameter.annotation)[:2]
    if info.metavar is None:
        kinds = get_args(kind) or (kind,)
        info.metavar = "" if bool in kinds else "NUMBER" if float in kinds else "N" if int in kinds else "TEXT"


def merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options given before and after a command's name; those after it win."""
    return {name: before.get(name) if value in (None, False) else value for name, value in after.items()}


def run_checked(invocation: Invocation, function: Callable[..., int | None], given: Mapping[str, Any]) -> int:
    """Run a command and return its exit code; an error of ours becomes one line on stderr."""
    try:
        code = function(invocation, **given)
        sys.stdout.flush()
    except EngramosError as error:
        if invocation.is_debug:
            raise
        invocation.output.error(str(error).replace("expected_version=", "--expected-version "))
        return exit_code(type(error))
    except BrokenPipeError:
        silence()
        return OK
    return code or OK


def silence() -> None:
    """Send what is still to be written nowhere: the reader of stdout has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
