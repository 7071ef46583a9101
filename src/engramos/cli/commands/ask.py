"""`engramos ask`: a local model answers out of its weights and out of memories."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Device, Dtype, Model, opened_weights
from engramos.cli.output import Output, one_line, printable

if TYPE_CHECKING:
    from engramos.memory import MemoryOS
    from engramos.verbs.parametric.answer import Answer

EXAMPLE = 'engramos ask "Where does Ana Lima work?" --model SmolLM2-135M-Instruct --explain'
FROM = {
    "weights": "from weights",
    "context": "from memories",
    "base": "from the model itself",
    "nobody": "from nobody: weights and memories disagree, decide with --arbitration",
}

Question = Annotated[str, typer.Argument(metavar="QUESTION", help="As a person asks it.")]
Arbitrated = Annotated[
    str, typer.Option("--arbitration", help="Who wins a conflict: context_first, weights_first, or ask for nobody.")
]
Budget = Annotated[int, typer.Option("--budget", help="Tokens that memories may take.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="At most so many tokens an answer.")]
Explains = Annotated[bool, typer.Option("--explain", help="Say why, with which adapter and which memories.")]


def ask(
    invocation: Invocation,
    question: Question,
    model: Model,
    arbitration: Arbitrated = "context_first",
    budget: Budget = 400,
    max_tokens: MaxTokens = 64,
    explains: Explains = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> None:
    """Ask a local model; its adapters and the memories both answer, and it says which of them won."""
    with opened_weights(invocation, model, dtype, device) as (memory, weights):
        given = {"arbitration": arbitration, "budget_tokens": budget, "max_tokens": max_tokens}
        found = weights.recall(question, **given)
        _show(invocation.output, memory, question, found, explains=explains)


def _show(output: Output, memory: "MemoryOS", question: str, found: "Answer", *, explains: bool) -> None:
    if output.is_json:
        values: dict[str, Any] = {"question": question, "answer": found.text, "source": found.source}
        values |= {"adapter": found.adapter_id, "why": found.why, "is_conflict": found.is_conflict}
        output.object(values | {"memories": list(found.cube_ids)})
        return
    output.line(printable(found.text))
    conflict = ", in a conflict" if found.is_conflict and found.source != "nobody" else ""
    output.say(FROM[found.source] + conflict)
    if not explains:
        return
    output.warn(f"why: {found.why}")
    if found.adapter_id is not None:
        output.warn(f"adapter: {found.adapter_id}")
    for cube_id in found.cube_ids:
        output.warn(f"memory: {cube_id}  {one_line(memory.get(cube_id).text)[:100]}")
