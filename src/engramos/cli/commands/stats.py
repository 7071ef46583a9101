"""`engramos stats`: numbers of a memory."""

from engramos.cli.invocation import Invocation
from engramos.cli.screen import fact_table, plain, size

EXAMPLE = "engramos stats --json"


def stats(invocation: Invocation) -> None:
    """Show numbers of a user's memory: cubes, versions, bytes."""
    with invocation.memory() as memory:
        numbers = memory.stats()
    output = invocation.output
    if output.is_json:
        output.object(numbers)
        return
    facts: dict[str, str] = {}
    for name, value in numbers.items():
        if isinstance(value, dict):
            facts |= {f"  {part}": plain(num) for part, num in value.items()}
        elif isinstance(value, list):
            facts |= {f"{name[:-1]} {at}": str(one) for at, one in enumerate(value, start=1)}
        else:
            facts[name.replace("_", " ")] = size(value) if name.endswith("_bytes") else plain(value or "none yet")
    output.show(fact_table(facts))
