"""`engramos eval NAME --data DIR`: one benchmark, ours beside the baselines."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from engramos.config import load
from engramos.errors import ConfigError, EngramosError
from engramos.evals import ROLE
from engramos.evals.method import Method, read_method
from engramos.evals.report import result_of, table, write
from engramos.evals.run import ask_all, fill, open_memory

app = typer.Typer(
    name="eval",
    help="Measure how well a memory brings back what was said.",
    invoke_without_command=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"], "allow_interspersed_args": True},
    pretty_exceptions_enable=False,
)


@app.callback(epilog="Example: engramos eval locomo --data ~/data --out results")
def evaluate(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The benchmark, such as locomo.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with evaluation data; ENGRAMOS_DATA where not given.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="plan, embedder, ranker, or a step and its weight; many times."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")] = False,
    vectors: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep vectors of texts here for later runs; then no rate is measured."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the result and each question's outcome here.")
    ] = None,
) -> None:
    """Measure how well a memory brings back what was said; the baselines run beside it."""
    before = ctx.obj or {}
    try:
        settings = load({"data": data, "embedder": before.get("embedder")})
        if settings.data is None:
            raise ConfigError("no folder with evaluation data is set: give --data DIR, or set ENGRAMOS_DATA")
        chosen = read_method(method or (), settings.embedder)
        _run(name, settings.data, chosen, is_json=json or bool(before.get("json")), out=out, vectors=vectors)
    except EngramosError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        raise typer.Exit(1) from error


def _run(name: str, data: Path, method: Method, *, is_json: bool, out: Path | None, vectors: Path | None) -> None:
    benchmark = ROLE.make(name)
    loaded = benchmark.load(data)
    if out is not None:
        _check_writable(out)
    with tempfile.TemporaryDirectory(prefix="engramos-eval-") as folder, _bars() as bars:
        with open_memory(Path(folder, "memory"), method.embedder, vectors) as memory:
            stored, asked = bars.add_task("store", total=None), bars.add_task("ask", total=len(loaded.questions))
            numbers = fill(memory, loaded, lambda num: bars.advance(stored, num))
            run = ask_all(memory, benchmark, loaded, method, lambda num: bars.advance(asked, num))
        run.numbers |= numbers
    result = result_of(name, benchmark, loaded, method, run)
    if out is not None:
        for path in write(out, result, run):
            sys.stderr.write(f"wrote {path}\n")
    _show(benchmark, result, is_json=is_json)


def _check_writable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a folder for the results")


def _show(benchmark: Any, result: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        console.print(table(benchmark, result))


@contextmanager
def _bars() -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield bars
