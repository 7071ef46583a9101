"""`engramos config`: the settings, as the file that would give them."""

import json
from typing import Annotated

import typer

from engramos.cli.exit_codes import NOT_FOUND, OK
from engramos.cli.invocation import Invocation
from engramos.config import NAMES, PREFIX, Settings
from engramos.errors import InvalidInputError

EXAMPLE = "engramos config --user ana"
HIDDEN = "***"


def config(
    invocation: Invocation,
    what: Annotated[str | None, typer.Argument(metavar="[path]", help="path: print the settings file's path.")] = None,
) -> int:
    """Print the settings as TOML, with where each came from.

    With path, print the settings file in use instead.
    """
    settings = invocation.settings()
    output = invocation.output
    if what not in (None, "path"):
        raise InvalidInputError(f"{what!r} is unknown: write 'engramos config' or 'engramos config path'")
    if what == "path":
        return _path(invocation, settings)
    values = {name: shown(settings, name) for name in NAMES}
    if output.is_json:
        output.object({name: {"value": values[name], "from": settings.sources[name]} for name in NAMES})
        return OK
    for name, value in values.items():
        text = f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
        output.line(f"{text}  # {settings.sources[name]}")
    return OK


def shown(settings: Settings, name: str) -> str | int | None:
    """Return a setting's value for people and JSON; a secret is three stars."""
    value = getattr(settings, name)
    if value is None or isinstance(value, int):
        return value
    return HIDDEN if name == "embedder_key" else str(value)


def _path(invocation: Invocation, settings: Settings) -> int:
    path = next((one for one in settings.sources.values() if file_like(one)), None)
    if invocation.output.is_json:
        invocation.output.object({"path": path})
    elif path is not None:
        invocation.output.line(path)
    if path is not None:
        return OK
    invocation.output.say("no file gives a setting: write engramos.toml here, or ~/.config/engramos/config.toml")
    return NOT_FOUND


def file_like(source: str) -> bool:
    """Return whether a setting's source is a file."""
    return source not in ("default", "argument") and not source.startswith(PREFIX)


def _toml(value: str | int) -> str:
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
