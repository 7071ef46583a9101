"""`engramos chat`: talk with a local model that remembers."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.commands.kv import opened
from engramos.cli.exit_codes import OK
from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Codec, Device, Dtype, Model
from engramos.cli.output import Output, one_line, printable
from engramos.clock import new_id
from engramos.errors import ContextLengthError, EngramosError

if TYPE_CHECKING:
    from engramos.kv import KVMemory
    from engramos.memory import MemoryOS
    from engramos.plaintext.contexts.block import ContextBlock
    from engramos.verbs.kv.answer import Answer

EXAMPLE = "engramos chat --model SmolLM2-135M-Instruct"
MAX_FOUND = 30

UsesKV = Annotated[bool, typer.Option("--kv/--no-kv", help="Keep what was read from turn to turn.", metavar="")]
System = Annotated[str | None, typer.Option("--system", help="What the system says first.")]
Budget = Annotated[int, typer.Option("--budget", help="Tokens that memories may take in a turn.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="At most so many tokens an answer.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0 takes the likeliest words.")]


def chat(
    invocation: Invocation,
    model: Model,
    uses_kv: UsesKV = True,
    system: System = None,
    budget: Budget = 500,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    codec: Codec = "int8",
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> int:
    """Talk with a local model: each line is a turn, and every turn is remembered.

    /memory shows what the last question brought back, /quit ends; so do Ctrl-D and Ctrl-C.
    """
    output = invocation.output
    with opened(invocation, model, dtype, device, codec=codec) as (memory, kv):
        from engramos.engines.base import Sampling

        talk = Talk(memory, kv, output, system, budget, Sampling(max_tokens, temperature), uses_kv=uses_kv)
        try:
            for line in _lines(output):
                if line == "/quit":
                    break
                talk.turn(line)
        except KeyboardInterrupt:
            output.say("")
    return OK


def _lines(output: Output) -> Iterator[str]:
    """Yield the lines of stdin that are not empty."""
    while True:
        if output.can_ask:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


class Talk:
    """A conversation, what was said in it, and what it has brought back."""

    def __init__(
        self,
        memory: "MemoryOS",
        kv: "KVMemory",
        output: Output,
        system: str | None,
        budget: int,
        sampling: Any,
        *,
        uses_kv: bool,
    ) -> None:
        """Begin a conversation of its own session."""
        self._memory, self._kv, self._output = memory, kv, output
        self._budget, self._sampling = budget, sampling
        self._opening = [{"role": "system", "content": system}] if system else []
        self._said: list[dict[str, str]] = []
        self._found: ContextBlock | None = None
        self._session = f"chat-{new_id()}"
        self._conversation = kv.conversation(uses_kv=uses_kv)

    def turn(self, line: str) -> None:
        """Answer a line, or do what it commands; an error of a turn does not end the talk."""
        if line == "/memory":
            self._show_memory()
        elif line.startswith("/"):
            self._output.warn(f"there is no command {line.split()[0]}: /memory and /quit are")
        else:
            try:
                self._answer(line)
            except EngramosError as error:
                self._output.error(str(error))

    def _answer(self, question: str) -> None:
        block = self._context(question)
        content = f"{block.text}\n\n{question}" if block.text else question
        said = self._begun({"role": "user", "content": content})
        output = self._output
        try:
            for piece in said:
                if not output.is_json:
                    sys.stdout.write(printable(piece.text))
                    sys.stdout.flush()
        finally:
            # an answer that was interrupted was said as far as it came
            if not output.is_json:
                output.line("")
            self._said.append({"role": "assistant", "content": said.text})
            self._remember(question, said.text)
        self._report(question, block, said)

    def _context(self, question: str) -> "ContextBlock":
        """Return what earlier talks and documents say; this talk is in the prompt already."""
        from engramos.plaintext.contexts.block import build

        hits = self._memory.search(question, limit=MAX_FOUND)
        cubes = [hit.cube for hit in hits if hit.cube.header.scope.session != self._session]
        self._found = build(cubes, self._budget, lambda text: len(self._kv.engine.tokens(text)))
        return self._found

    def _begun(self, message: dict[str, str]) -> "Answer":
        """Begin an answer; where the talk has outgrown the model's window, its oldest turns are left out."""
        said = [*self._said, message]
        while True:
            try:
                begun = self._conversation.answer([*self._opening, *said], self._sampling)
            except ContextLengthError:
                if len(said) <= 1:
                    raise
                said = said[2:]
                self._output.say("the talk has outgrown the model's window: its oldest turn is left out")
                continue
            self._said = said
            return begun

    def _remember(self, question: str, text: str) -> None:
        messages = [{"role": "user", "content": question}]
        if text.strip():
            messages.append({"role": "assistant", "content": text})
        self._memory.add(messages, session=self._session)

    def _report(self, question: str, block: "ContextBlock", said: "Answer") -> None:
        for note in said.notes:
            self._output.warn(note)
        values = {
            "question": question,
            "answer": said.text,
            "reason": said.reason,
            "prompt_tokens": len(said.token_ids),
            "cached_tokens": said.cached_tokens,
            "memories": list(block.cube_ids),
            "first_token_s": said.prefill_s,
            "notes": said.notes,
        }
        if self._output.is_json:
            self._output.object(values)
            sys.stdout.flush()
        else:
            cached = f"{said.cached_tokens} of {len(said.token_ids)} prompt tokens were cached"
            self._output.say(f"{cached}; first token after {said.prefill_s:.2f} s")

    def _show_memory(self) -> None:
        if self._found is None or not self._found.cube_ids:
            self._output.say("the last question brought nothing back")
            return
        for cube_id in self._found.cube_ids:
            text = one_line(self._memory.get(cube_id).text)
            self._output.warn(f"{cube_id}  {text[:100]}")
