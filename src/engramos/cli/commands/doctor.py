"""`engramos doctor`: what is set, what works, what is broken, and what to do about it."""

from typing import Any

from rich.table import Table
from rich.text import Text

from engramos.cli.checks import BROKEN, WARNING, Check, check_all
from engramos.cli.commands.config import shown
from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.output import Output, printable
from engramos.config import NAMES, Settings
from engramos.errors import ConfigError

EXAMPLE = "engramos doctor"
_MARKS = {"ok": ("✓", "good"), WARNING: ("!", "warn"), BROKEN: ("✗", "bad")}


def doctor(invocation: Invocation) -> int:
    """Check all that a memory needs, and show the settings.

    Each setting with where it came from, each fault with the next step; the exit code is 1 if something is broken.
    """
    settings: Settings | None = None
    try:
        settings = invocation.settings()
        checks = check_all(settings, invocation.given)
    except ConfigError as error:
        checks = [Check("settings", BROKEN, "cannot be read", str(error))]
    output = invocation.output
    if output.is_json:
        output.object(_as_json(settings, checks))
    else:
        _show(output, settings, checks)
    return ERROR if any(check.status == BROKEN for check in checks) else OK


def _as_json(settings: Settings | None, checks: list[Check]) -> dict[str, Any]:
    names = () if settings is None else NAMES
    return {
        "is_healthy": not any(check.status == BROKEN for check in checks),
        "settings": {name: {"value": shown(settings, name), "from": settings.sources[name]} for name in names},
        "checks": {
            check.name: {"status": check.status, "found": check.found, "next_step": check.next_step} for check in checks
        },
    }


def _show(output: Output, settings: Settings | None, checks: list[Check]) -> None:
    if settings is not None:
        output.show(Text("Settings", "name"))
        table = Table.grid(padding=(0, 2))
        for name in NAMES:
            value = shown(settings, name)
            origin = settings.sources[name]
            text = Text("not set", "soft") if value is None else Text(printable(str(value)))
            table.add_row(Text(f"  {name}"), text, Text(printable(origin), "soft" if origin == "default" else "id"))
        output.show(table)
        output.show(Text(""))
    output.show(Text("Checks", "name"))
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark, style = _MARKS[check.status]
        table.add_row(Text(f"  {mark}", style), Text(check.name), Text(printable(check.found)))
        if check.next_step:
            table.add_row("", "", Text(printable(check.next_step), style))
    output.show(table)
