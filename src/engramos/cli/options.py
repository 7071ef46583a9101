"""Options that several commands share, and how their texts are read."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.errors import InvalidInputError

if TYPE_CHECKING:
    from engramos.rows import Filter
    from engramos.scope import Scope

_PANEL = "Which memories"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_at(text: str) -> datetime:
    """Return the time that an option names, for typer.

    Raises:
        BadParameter: if it names none.
    """
    from engramos.messages import read_time

    try:
        return read_time(text)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from error


def read_span(text: str) -> timedelta:
    """Return the time span that an option names: `30d`, `12h`, `2w`.

    Raises:
        BadParameter: if it names none.
    """
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time span: write a number and s, m, h, d or w, such as 30d")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is too long a time span: leave the option out to keep it") from error


def _time(name: str, help_text: str, panel: str | None = None) -> object:
    return typer.Option(name, help=help_text, metavar="DATE", parser=read_at, rich_help_panel=panel)


Id = Annotated[str, typer.Argument(metavar="ID", help="The cube's id, as list and search show it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="At most so many.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and change nothing.")]
AsOf = Annotated[datetime | None, _time("--as-of", "What was true in the world then.")]
KnownAt = Annotated[datetime | None, _time("--known-at", "What the memory knew then.")]
AskedAt = Annotated[datetime | None, _time("--asked-at", 'When the question is asked: what "last May" counts from.')]
Session = Annotated[
    str | None, typer.Option("--session", help="Of this conversation or document.", rich_help_panel=_PANEL)
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", help="episode, fact, profile, procedure, resource, secret; may repeat.", rich_help_panel=_PANEL
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option("--state", help="activated, archived, expired, frozen, ...; may repeat.", rich_help_panel=_PANEL),
]
Speaker = Annotated[str | None, typer.Option("--speaker", help="Said by.", rich_help_panel=_PANEL)]
Label = Annotated[str | None, typer.Option("--label", help="With this label.", rich_help_panel=_PANEL)]
Since = Annotated[datetime | None, _time("--since", "True or said at or after.", _PANEL)]
Until = Annotated[datetime | None, _time("--until", "True or said before.", _PANEL)]
Match = Annotated[
    str | None,
    typer.Option("--match", help='Holding these words: a, "a phrase", AND, OR, NOT, prefix*.', rich_help_panel=_PANEL),
]
SourceRef = Annotated[
    str | None, typer.Option("--source-ref", help="With this id where it came from.", rich_help_panel=_PANEL)
]
MinTrust = Annotated[
    float | None, typer.Option("--min-trust", help="Trusted so much at least, 0 to 1.", rich_help_panel=_PANEL)
]


def _which(
    types: Types = None,
    speaker: Speaker = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
    match: Match = None,
    session: Session = None,
    source_ref: SourceRef = None,
    min_trust: MinTrust = None,
) -> None:
    """Declare the options that say which memories are meant."""


WHICH = tuple(inspect.signature(_which).parameters.values())
"""What a command has in the place of its parameter `where`."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which memories the options mean."""

    given: Mapping[str, Any]
    """The options of `WHICH` by name; None where one is not given."""

    def filter(self, states: Sequence[str] | None = None) -> "Filter | None":
        """Return the filter that the options make; None where none is given.

        Raises:
            InvalidInputError: if a value does not fit.
        """
        values = {
            name: value for name, value in self.given.items() if value is not None and name not in ("session", "types")
        }
        types = tuple(self.given.get("types") or ())
        if not (values or types or states):
            return None
        from engramos.rows import Filter

        return Filter(types=types, states=tuple(states or ()), **values)

    @property
    def session(self) -> str | None:
        """The conversation or document that is meant; None for all."""
        return self.given.get("session")

    def scope(self, own: "Scope") -> "Scope":
        """Return a memory's own scope, narrowed to the conversation where one is meant."""
        return own if self.session is None else replace(own, session=self.session)
