"""`engramos search`: find the memories that answer a question."""

from typing import Annotated

import typer

from engramos.cli.as_json import cube_json
from engramos.cli.invocation import Invocation
from engramos.cli.options import AskedAt, AsOf, KnownAt, Limit, Where
from engramos.cli.screen import hit_block

EXAMPLE = 'engramos search "Where does Ana live?" -n 5 --explain'


def search(
    invocation: Invocation,
    where: Where,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In your own words.")],
    limit: Limit = 10,
    explains: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    asked_at: AskedAt = None,
) -> None:
    """Find the memories that answer a question, best first."""
    output = invocation.output
    with invocation.memory() as memory:
        hits = memory.search(
            question,
            limit=limit,
            where=where.filter(),
            as_of=as_of,
            known_at=known_at,
            asked_at=asked_at,
            scope=where.scope(memory.scope),
        )
    if output.is_json:
        output.objects(
            {"rank": rank, "score": hit.score, "parts": dict(hit.parts), **cube_json(hit.cube)}
            for rank, hit in enumerate(hits, start=1)
        )
        return
    for rank, hit in enumerate(hits, start=1):
        output.show(hit_block(rank, hit.cube, hit.score, hit.parts if explains else None))
    if not hits:
        output.say("nothing found")
