"""`engramos reembed`: make all vectors anew."""

from engramos.cli.invocation import Invocation
from engramos.cli.screen import plural

EXAMPLE = "engramos reembed --embedder hashing"


def reembed(invocation: Invocation) -> None:
    """Make all vectors anew with another embedder.

    Searches use the old vectors until all new ones are there; stopped, it goes on when it is run again.
    """
    output = invocation.output
    with invocation.memory(for_reembed=True) as memory:
        with output.progress("reembedding", None) as step:
            num = memory.reembed(progress=step)
        embedder = memory.stats()["embedder"]
    if output.is_json:
        output.object({"vectors": num, "embedder": embedder})
    else:
        output.line(f"{plural(num, 'vector')} made by {embedder}")
