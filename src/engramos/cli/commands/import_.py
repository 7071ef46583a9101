"""`engramos import`: read files of conversations and documents."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.screen import plural
from engramos.errors import ConfigError, ImportFailedError

if TYPE_CHECKING:
    from engramos.importers.base import Importer
    from engramos.memory import MemoryOS

EXAMPLE = "engramos import notes.md chat.jsonl"
MAX_SHOWN = 20
"""Problems of one file that people are shown; JSON has them all."""


def import_files(
    invocation: Invocation,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What to read.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="chatgpt, claude, jsonl, locomo, longmemeval, markdown, openai_messages, pdf, text; "
            "found from the content if left out.",
        ),
    ] = None,
    is_strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a whole file for one bad record, before storing any.")
    ] = False,
    sample: Annotated[str | None, typer.Option("--sample", help="The same as -p sample=NAME.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of the format; may repeat."),
    ] = None,
) -> int:
    """Read files of conversations and documents.

    A file that was read before adds nothing. What cannot be read is listed with its place, the rest goes on. An import
    that was stopped goes on where it stopped when it is run again.
    """
    importer = _importer(format_, parameters or [], sample)
    refused = 0
    with invocation.memory() as memory:
        for path in files:
            try:
                _import_one(invocation, memory, path, importer, is_strict)
            except ImportFailedError as error:
                if invocation.is_debug:
                    raise
                refused += 1
                invocation.output.error(str(error))
                if invocation.output.is_json:
                    invocation.output.object({"file": str(path), "error": str(error)})
    return ERROR if refused else OK


def _importer(name: str | None, pairs: list[str], sample: str | None) -> "Importer | None":
    values = dict(_pair(pair) for pair in pairs) | ({} if sample is None else {"sample": sample})
    if name is None:
        if values:
            raise ConfigError("parameters belong to a format: name it, as in --format locomo")
        return None
    from engramos.importers import ROLE

    return ROLE.make(name, **values)


def _pair(text: str) -> tuple[str, Any]:
    """Return key and value; a value that reads as TOML is that value, any other is a text."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"{text!r} is no parameter: write key=value, as in sample=conv-26")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _import_one(
    invocation: Invocation, memory: "MemoryOS", path: Path, importer: "Importer | None", is_strict: bool
) -> None:
    output = invocation.output
    total = None
    if output.shows_progress:
        from engramos.importers.base import detect

        total = (importer or detect(path)).count(path)
    with output.progress(path.name, total) as step:
        found = memory.import_file(path, importer=importer, is_strict=is_strict, progress=step)
    problems = [{"position": one.position, "problem": one.problem, "text": one.text} for one in found.problems]
    if output.is_json:
        output.object(
            {
                "file": str(path),
                "format": found.format,
                "records": found.num_records,
                "cubes": found.num_cubes,
                "known": found.num_known,
                "problems": problems,
            }
        )
        return
    for one in problems[:MAX_SHOWN]:
        output.warn(f"{path}: {one['position']}: {one['problem']}")
    if len(problems) > MAX_SHOWN:
        output.warn(f"{path}: {len(problems) - MAX_SHOWN} more problems; --json lists them all")
    known = f", {found.num_known:,} known before" if found.num_known else ""
    skipped = f", {len(problems):,} skipped" if problems else ""
    output.line(f"{path}: {plural(found.num_cubes, 'new cube')} from {found.format}{known}{skipped}")
