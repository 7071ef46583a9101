"""`engramos add`: keep texts, word for word."""

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun, read_at, read_span
from engramos.cli.output import Output
from engramos.cli.screen import plural
from engramos.errors import InvalidInputError

if TYPE_CHECKING:
    from engramos.changes import Receipt

EXAMPLE = 'engramos add "I moved to Lisbon in May." --speaker Ana --at 2024-05-31'

Texts = Annotated[
    list[str] | None, typer.Argument(metavar="[TEXT]...", help="Each a memory of its own; - reads one from stdin.")
]
Speaker = Annotated[str | None, typer.Option("--speaker", help="Who said it.")]
SaidAt = Annotated[
    datetime | None, typer.Option("--at", help="When it was said; now if left out.", metavar="DATE", parser=read_at)
]
Session = Annotated[str | None, typer.Option("--session", help="The conversation it belongs to.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="A label; may repeat.")]
Type = Annotated[str, typer.Option("--type", help="episode, fact, profile, procedure, resource, secret.")]
Key = Annotated[str | None, typer.Option("--key", help="A retry with the same key and texts adds nothing.")]
KeepFor = Annotated[
    timedelta | None, typer.Option("--keep-for", help="Erase it after: 12h, 30d, 2w.", metavar="SPAN", parser=read_span)
]
Trust = Annotated[float, typer.Option("--trust", help="How much to trust it, 0 to 1.")]
IsHeld = Annotated[bool, typer.Option("--hold", help="Put it under a legal hold.")]


def add(
    invocation: Invocation,
    texts: Texts = None,
    speaker: Speaker = None,
    at: SaidAt = None,
    session: Session = None,
    labels: Labels = None,
    type_: Type = "episode",
    key: Key = None,
    keep_for: KeepFor = None,
    trust: Trust = 1.0,
    is_held: IsHeld = False,
    dry_run: DryRun = False,
) -> None:
    """Keep texts, word for word, and print their ids.

    Without a text, it is read from stdin; one line end at its end does not count.
    """
    items = _texts(texts)
    with invocation.memory() as memory:
        receipt = memory.add(
            items,
            type=type_,
            speaker=speaker,
            session=session,
            at=at,
            labels=labels or (),
            trust=trust,
            keep_for=keep_for,
            is_held=is_held,
            idempotency_key=key,
            dry_run=dry_run,
        )
    _show(invocation.output, receipt, plural(len(items), "memory", "memories"))


def _show(output: Output, receipt: "Receipt", num: str) -> None:
    ids = [] if receipt.is_dry_run else list(receipt.cube_ids)
    if output.is_json:
        output.object({"ids": ids, "is_replay": receipt.is_replay, "is_dry_run": receipt.is_dry_run})
        return
    for cube_id in ids:
        output.line(cube_id)
    if receipt.is_replay:
        output.say(f"{num} known: added before under this key")
    else:
        output.say(f"would add {num}" if receipt.is_dry_run else f"added {num}")


def _texts(given: list[str] | None) -> list[str]:
    if not given:
        if sys.stdin is None or sys.stdin.isatty():
            raise InvalidInputError("there is nothing to add: give a text, or pipe one in")
        return [read_stdin()]
    if given.count("-") > 1:
        raise InvalidInputError("- stands for stdin, which can be read once only: give it once")
    return [read_stdin() if text == "-" else text for text in given]


def read_stdin() -> str:
    """Return the text on stdin, without one line end at its end.

    Raises:
        InvalidInputError: if it is not UTF-8.
    """
    raw = sys.stdin.buffer.read()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"stdin is not UTF-8 at byte {error.start}: convert it, or import it as a file with 'engramos import'"
        ) from error
    return text.removesuffix("\n").removesuffix("\r")
