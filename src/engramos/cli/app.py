"""The application: every command in its place, and what holds before and after all of them."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from typing import Annotated, Any

import typer

import engramos
from engramos.cli.command import register, register_root, silence
from engramos.cli.commands import (
    adapters,
    add,
    ask,
    backup,
    chat,
    config,
    consolidate,
    context,
    doctor,
    dump,
    explain,
    forget,
    get,
    history,
    import_,
    kv,
    learn,
    list_,
    load,
    probe,
    reembed,
    restore,
    rollback,
    search,
    stats,
    update,
    verify,
)
from engramos.cli.exit_codes import ERROR, INTERRUPTED, OK
from engramos.cli.output import Output

_EVERY_DAY, _CHANGE, _KEEP, _LOOK = "Keep and find", "Change and forget", "Whole memories", "Look after"
COMMANDS = (
    ("add", add.add, add.EXAMPLE, _EVERY_DAY),
    ("import", import_.import_files, import_.EXAMPLE, _EVERY_DAY),
    ("search", search.search, search.EXAMPLE, _EVERY_DAY),
    ("context", context.context, context.EXAMPLE, _EVERY_DAY),
    ("get", get.get, get.EXAMPLE, _EVERY_DAY),
    ("list", list_.list_cubes, list_.EXAMPLE, _EVERY_DAY),
    ("history", history.history, history.EXAMPLE, _EVERY_DAY),
    ("explain", explain.explain, explain.EXAMPLE, _EVERY_DAY),
    ("update", update.update, update.EXAMPLE, _CHANGE),
    ("forget", forget.forget, forget.EXAMPLE, _CHANGE),
    ("consolidate", consolidate.consolidate, consolidate.EXAMPLE, _CHANGE),
    ("restore", restore.restore, restore.EXAMPLE, _CHANGE),
    ("backup", backup.backup, backup.EXAMPLE, _KEEP),
    ("dump", dump.dump, dump.EXAMPLE, _KEEP),
    ("load", load.load, load.EXAMPLE, _KEEP),
    ("reembed", reembed.reembed, reembed.EXAMPLE, _KEEP),
    ("stats", stats.stats, stats.EXAMPLE, _LOOK),
    ("verify", verify.verify, verify.EXAMPLE, _LOOK),
    ("doctor", doctor.doctor, doctor.EXAMPLE, _LOOK),
    ("config", config.config, config.EXAMPLE, _LOOK),
)
"""Name, function, example and panel of each command."""
_LOCAL = "With a local model"
WITH_MODEL = (
    ("chat", chat.chat, chat.EXAMPLE),
    ("ask", ask.ask, ask.EXAMPLE),
    ("learn", learn.learn, learn.EXAMPLE),
    ("probe", probe.probe, probe.EXAMPLE),
    ("rollback", rollback.rollback, rollback.EXAMPLE),
)
"""Name, function and example of each command that works with a local model, or on what such a model has made."""


def _root(
    ctx: typer.Context,
    options: Mapping[str, Any],
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """A memory for language models, in a folder of yours: keep, find, change, forget."""
    ctx.obj = dict(options)
    if version:
        sys.stdout.write(f"engramos {engramos.__version__}\n")
        raise typer.Exit(OK)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def make_app(*, with_evals: bool = False) -> typer.Typer:
    """Return the application with all its commands.

    Args:
        with_evals: load `eval` in full; else only its name and help are there, because it loads numpy.
    """
    app = typer.Typer(
        name="engramos",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        epilog='[bold]Example[/]\n\n[cyan]engramos add "I moved to Lisbon in May."[/]',
    )
    register_root(app, _root)
    for name, function, example, panel in COMMANDS:
        register(app, function, name, panel, example)
    for name, function, example in WITH_MODEL:
        register(app, function, name, _LOCAL, example)
    group = typer.Typer(help=kv.HELP, rich_markup_mode="rich", no_args_is_help=True)
    weights = typer.Typer(rich_markup_mode="rich")
    register_root(weights, adapters.adapters)
    for typed, commands in ((group, kv.COMMANDS), (weights, adapters.COMMANDS)):
        for name, function, example in commands:
            register(typed, function, name, _LOCAL, example)
    app.add_typer(weights, name="adapters", rich_help_panel=_LOCAL)
    app.add_typer(group, name="kv", rich_help_panel=_LOCAL)
    if _has_evals():
        if with_evals:
            evals = importlib.import_module("engramos.evals.command").app
        else:
            evals = typer.Typer(help="Measure how well a memory brings back what was said.")
            evals.callback(invoke_without_command=True)(lambda: None)
        app.add_typer(evals, name="eval", rich_help_panel=_LOOK)
    return app


def _has_evals() -> bool:
    """Return whether the package of evaluations is installed, without importing it."""
    package = importlib.util.find_spec("engramos.evals")
    where = package.submodule_search_locations if package else None
    return bool(where) and PathFinder.find_spec("engramos.evals.command", where) is not None


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every failure is one line on stderr.

    Args:
        arguments: what stands after `engramos`.
    """
    is_debug = "--debug" in arguments
    try:
        code = make_app(with_evals="eval" in arguments)([*arguments], prog_name="engramos", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        silence()
        return OK
    except Exception as error:
        if is_debug:
            raise
        return _failed(error)


def _failed(error: Exception) -> int:
    """Show an error that no command expected, and return the exit code."""
    output = Output()
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if hasattr(error, "format_message"):
        ctx = getattr(error, "ctx", None)
        where = ctx.command_path if ctx else "engramos"
        output.error(f"{error.format_message().rstrip('.')}; see '{where} --help'")
        return error.exit_code
    if isinstance(error, OSError):
        output.error(f"{error}: check the path and its permissions")
        return ERROR
    output.error(f"{type(error).__name__}: {error}; this is a fault of engramos: report it with what --debug shows")
    return ERROR
