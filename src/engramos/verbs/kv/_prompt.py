"""How a context block and a question become the tokens of a prompt."""

from collections.abc import Callable

from engramos.errors import UnsupportedError
from engramos.verbs.kv._cut import common
from engramos.verbs.kv._parts import KVParts

CHAT, PLAIN = "chat", "plain"
"""Templates: the model's own for talks, with the block in the user's message; or block, blank line, question."""
_PROBES = ("Where?", "0", "and")
"""Questions that begin with different tokens: what their prompts share is what every prompt begins with."""


def messages_of(block: str, question: str, system: str | None = None) -> list[dict[str, str]]:
    """Return the messages of a question with its context block; memories never speak as the system."""
    content = f"{block}\n\n{question}" if block else question
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": content}]


def question_tokens(kv: KVParts, block: str, question: str, system: str | None = None) -> tuple[list[int], str]:
    """Return the tokens of a question with its context block, and the template by which they were made."""
    messages = messages_of(block, question, system)
    try:
        return kv.engine.chat_tokens(messages), CHAT
    except UnsupportedError:
        return kv.engine.tokens("\n\n".join(one["content"] for one in messages)), PLAIN


def opening_tokens(kv: KVParts, block: str, system: str | None = None) -> tuple[list[int], str]:
    """Return the tokens with which every prompt about a block begins, and the template.

    What stands before the question is not cut as text: a tokenizer may join letters across the cut.
    """
    made = [question_tokens(kv, block, probe, system) for probe in _PROBES]
    first, template = made[0]
    shared = min(common(first, other) for other, _ in made[1:])
    return first[:shared], template


def counter(kv: KVParts) -> Callable[[str], int]:
    """Return what counts the tokens of a text with the engine's own tokenizer."""
    return lambda text: len(kv.engine.tokens(text))
