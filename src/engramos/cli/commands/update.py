"""`engramos update`: a further version of a cube."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from engramos.cli.commands.add import read_stdin
from engramos.cli.commands.restore import show_version
from engramos.cli.invocation import Invocation
from engramos.cli.options import DryRun, Id, read_at
from engramos.errors import InvalidInputError

if TYPE_CHECKING:
    from engramos.cube import Grant

EXAMPLE = 'engramos update $ID --expected-version 1 --text "Tea is at five."'


Expected = Annotated[
    int | None, typer.Option("--expected-version", help="The version that you read; a newer one is a conflict.")
]
Force = Annotated[bool, typer.Option("--force", help="Go on from whatever version is the newest.")]
NewText = Annotated[str | None, typer.Option("--text", help="The new text; - reads it from stdin.")]
Speaker = Annotated[str | None, typer.Option("--speaker", help="Who said it.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="Its labels from now on; may repeat; '' for none.")]
ValidAt = Annotated[
    datetime | None, typer.Option("--valid-at", help="Since when it is true.", metavar="DATE", parser=read_at)
]
InvalidAt = Annotated[
    datetime | None, typer.Option("--invalid-at", help="From when on it is not.", metavar="DATE", parser=read_at)
]
Trust = Annotated[float | None, typer.Option("--trust", help="How much to trust it, 0 to 1.")]
Grants = Annotated[
    list[str] | None,
    typer.Option("--grant", metavar="USER:RIGHT", help="Who else may read or write it; may repeat; '' for nobody."),
]
IsHeld = Annotated[bool | None, typer.Option("--hold/--release", help="Put it under a legal hold, or free it.")]


def update(
    invocation: Invocation,
    cube_id: Id,
    expected_version: Expected = None,
    force: Force = False,
    text: NewText = None,
    speaker: Speaker = None,
    labels: Labels = None,
    valid_at: ValidAt = None,
    invalid_at: InvalidAt = None,
    trust: Trust = None,
    grants: Grants = None,
    is_held: IsHeld = None,
    dry_run: DryRun = False,
) -> None:
    """Write a further version of a cube.

    The versions before stay readable; 'engramos restore' brings one back.
    """
    if expected_version is None and not force:
        raise InvalidInputError("give --expected-version N, the version that you read, or --force")
    with invocation.memory() as memory:
        cube = memory.update(
            cube_id,
            expected_version=expected_version,
            force=force,
            text=read_stdin() if text == "-" else text,
            speaker=speaker,
            labels=None if labels is None else [label for label in labels if label],
            valid_at=valid_at,
            invalid_at=invalid_at,
            trust=trust,
            grants=None if grants is None else [_grant(one) for one in grants if one],
            is_held=is_held,
            dry_run=dry_run,
        )
    show_version(invocation.output, cube, is_dry_run=dry_run)


def _grant(text: str) -> "Grant":
    from engramos.cube import Grant

    user, sign, right = text.rpartition(":")
    if not sign or not user:
        raise InvalidInputError(f"{text!r} is no grant: write user:read or user:write")
    return Grant(user, right)
