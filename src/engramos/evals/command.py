"""`engramos eval NAME` measures a benchmark beside the baselines; `engramos eval compare A B` compares two runs."""

import copy
import inspect
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import Progress
from typer.core import TyperGroup

from engramos.config import load
from engramos.errors import (
    ConfigError,
    EngramosError,
    InvalidInputError,
    MissingExtraError,
    UnknownMethodError,
    UnsupportedError,
)
from engramos.evals import ROLE
from engramos.evals.compare import compare, tables
from engramos.evals.kv.command import KV_EXAMPLE, REUSE_EXAMPLE, evaluate_kv, evaluate_reuse
from engramos.evals.method import Method, read_method
from engramos.evals.outcomes import read_outcomes
from engramos.evals.parametric.command import (
    MQAR_EXAMPLE,
    UNLEARN_EXAMPLE,
    WRITE_EXAMPLE,
    evaluate_mqar,
    evaluate_unlearn,
    evaluate_write,
)
from engramos.evals.parametric.edit_command import EDIT_EXAMPLE, evaluate_edit
from engramos.evals.plot import check_installed, draw
from engramos.evals.report import groups_of, result_of, table, write
from engramos.evals.run import ask_all, fill, open_memory

Json = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object on stdout, for machines.")]
_WRONG_REQUESTS = (ConfigError, UnknownMethodError, InvalidInputError, UnsupportedError)


def exit_code(error: EngramosError) -> int:
    """Return the exit code of an error that an evaluation raises: 2 for a wrong request, else 1, as everywhere."""
    return 2 if isinstance(error, _WRONG_REQUESTS) else 1


class Benchmarks(TyperGroup):
    """A command for each benchmark, made of the one command `NAME`, and those about results."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the benchmarks' names, then the other commands'."""
        return [*ROLE.names(), *(name for name in self.commands if name != "NAME")]

    def get_command(self, ctx: Any, name: str) -> Any:
        """Return the command of a benchmark, or another one.

        Raises:
            UnknownMethodError: if there is neither.
        """
        is_own = name != "NAME" and name in self.commands
        made = copy.copy(self.commands[name if is_own else "NAME"])
        help_text = made.help if is_own else ROLE.load(name).__doc__
        made.name, made.help = name, _flowing(inspect.cleandoc(help_text or ""))
        return made

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error of ours becomes one line on stderr."""
        try:
            return super().invoke(ctx)
        except EngramosError as error:
            if (ctx.obj or {}).get("debug"):
                raise
            sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
            raise typer.Exit(exit_code(error)) from error


def _flowing(text: str) -> str:
    """Return the text with its paragraphs as single lines, so that a terminal of any width can wrap them."""
    return re.sub(r"(?<!\n)\n *(?!\n| |Source:|Differs:)", " ", text)


app = typer.Typer(
    name="eval",
    cls=Benchmarks,
    epilog="Example: engramos eval locomo --data ~/data --out results",
    invoke_without_command=True,
    subcommand_metavar="NAME [ARGS]...",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def show_help(ctx: typer.Context) -> None:
    """Measure how well a memory brings back what was said, and compare runs."""
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")


@app.command("NAME", rich_help_panel="Benchmarks", epilog="Example: engramos eval locomo --data ~/data --out results")
def evaluate(
    ctx: typer.Context,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with evaluation data; ENGRAMOS_DATA where not given.")
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this part of a benchmark that has parts, such as 100K.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="plan, embedder, ranker, or a step and its weight; many times."),
    ] = None,
    is_json: Json = False,
    vectors: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep vectors of texts here for later runs; then no rate is measured."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the result, each question's outcome and a plot here.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the plot here: .png, .svg or .pdf.")] = None,
) -> None:
    """Measure how well a memory brings back what was said; the baselines run beside it."""
    before = ctx.obj or {}
    settings = load({"data": data, "embedder": before.get("embedder")})
    if settings.data is None:
        raise ConfigError("no folder with evaluation data is set: give --data DIR, or set ENGRAMOS_DATA")
    chosen = read_method(method or (), settings.embedder)
    outputs = _Outputs(out, plot, is_json=is_json or bool(before.get("json")))
    _run(str(ctx.command.name), part, settings.data, chosen, outputs, vectors)


@app.command(
    "compare",
    rich_help_panel="Results",
    epilog="Example: engramos eval compare results/new results/old",
)
def compare_runs(
    ctx: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A", help="A result: what --out wrote, a folder or a file in it.")],
    second: Annotated[
        Path | None, typer.Argument(metavar="B", help="The result to hold it against; A itself where not given.")
    ] = None,
    of: Annotated[
        str | None, typer.Option(metavar="METHOD", help="The method of A, such as default; its own where not given.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="METHOD", help="The method of B, such as bm25; as --of where not given.")
    ] = None,
    is_json: Json = False,
) -> None:
    """Compare two runs, or two methods of one, question by question.

    Each metric comes with the mean difference (A less B), its 95 % interval (paired bootstrap), the p of a two-sided
    paired randomisation test, and how many questions got better, worse, or stayed equal.
    """
    one = read_outcomes(first)
    found = compare(one, one if second is None else read_outcomes(second), of, against)
    shown = ROLE.load(one.benchmark).shown if one.benchmark in ROLE.names() else ()
    _show(found, tables(found, shown), is_json=is_json or bool((ctx.obj or {}).get("json")))


app.command("kv", rich_help_panel="KV caches", epilog=KV_EXAMPLE)(evaluate_kv)
app.command("reuse", rich_help_panel="KV caches", epilog=REUSE_EXAMPLE)(evaluate_reuse)
app.command("edit", rich_help_panel="Parametric memory", epilog=EDIT_EXAMPLE)(evaluate_edit)
app.command("write", rich_help_panel="Parametric memory", epilog=WRITE_EXAMPLE)(evaluate_write)
app.command("mqar", rich_help_panel="Parametric memory", epilog=MQAR_EXAMPLE)(evaluate_mqar)
app.command("unlearn", rich_help_panel="Parametric memory", epilog=UNLEARN_EXAMPLE)(evaluate_unlearn)


class _Outputs:
    """Where a run's result goes; what cannot be is said before any work."""

    def __init__(self, folder: Path | None, plot: Path | None, *, is_json: bool) -> None:
        self.folder, self.plot, self.is_json = folder, plot, is_json
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file: give a folder for the results")
        if plot is not None:
            check_installed(plot)

    def plot_of(self, name: str) -> Path | None:
        """Return where the plot goes; None, with a line on stderr, where nobody asked and it cannot be drawn."""
        if self.plot is not None or self.folder is None:
            return self.plot
        beside = self.folder / f"{name}.png"
        try:
            check_installed(beside)
        except MissingExtraError as error:
            sys.stderr.write(f"no plot is drawn: {error}\n")
            return None
        return beside


def _run(name: str, part: str | None, data: Path, method: Method, outputs: _Outputs, vectors: Path | None) -> None:
    benchmark = ROLE.make(name, **({} if part is None else {"part": part}))
    loaded = benchmark.load(data)
    with tempfile.TemporaryDirectory(prefix="engramos-eval-") as folder, _bars() as bars:
        with open_memory(Path(folder, "memory"), method.embedder, vectors) as memory:
            stored, asked = bars.add_task("store", total=None), bars.add_task("ask", total=len(loaded.questions))
            numbers = fill(memory, loaded, lambda num: bars.advance(stored, num))
            run = ask_all(memory, benchmark, loaded, method, lambda num: bars.advance(asked, num))
        run.numbers |= numbers
    result = result_of(name, benchmark, loaded, method, run)
    written = [] if outputs.folder is None else list(write(outputs.folder, result, run))
    plot = outputs.plot_of(name)
    if plot is not None:
        draw(result, benchmark.shown, groups_of(run), plot)
        written.append(plot)
    for path in written:
        sys.stderr.write(f"wrote {path}\n")
    _show(result, [table(benchmark, result)], is_json=outputs.is_json)


def _show(result: dict[str, Any], shown: list[RenderableType], *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        for one in shown:
            console.print(one)


@contextmanager
def _bars() -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield bars
