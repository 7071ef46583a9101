"""`engramos context`: a block for a prompt."""

from typing import Annotated

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.options import AskedAt, AsOf, Where
from engramos.cli.output import printable
from engramos.cli.screen import plural

EXAMPLE = 'engramos context "Where does Ana live?" --budget 500'


def context(
    invocation: Invocation,
    where: Where,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What the memories are for.")],
    budget: Annotated[int, typer.Option("--budget", help="Tokens that the block may take.")] = 1_000,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many memories.")] = 30,
    as_of: AsOf = None,
    asked_at: AskedAt = None,
) -> None:
    """Print a block for a prompt, with what a question needs."""
    output = invocation.output
    with invocation.memory() as memory:
        block = memory.context(
            question,
            budget_tokens=budget,
            limit=limit,
            where=where.filter(),
            as_of=as_of,
            asked_at=asked_at,
            scope=where.scope(memory.scope),
        )
    if output.is_json:
        values = {"text": block.text, "ids": list(block.cube_ids)}
        output.object(values | {"num_tokens": block.num_tokens, "left_out": block.left_out})
        return
    if block.text:
        output.line(printable(block.text) if output.is_terminal else block.text)
    left_out = f"; {block.left_out} more did not fit" if block.left_out else ""
    output.say(f"{plural(len(block.cube_ids), 'memory', 'memories')}, about {block.num_tokens} tokens{left_out}")
