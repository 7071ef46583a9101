"""Questions in the chat template, free answers, and whether they are the wanted ones."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.adapter import Adapter
from engramos.parametric.facts import Fact
from engramos.parametric.model import BaseModel
from engramos.parametric.probes.base import Probed

ROWS = 32
"""How many prompts are answered in one batch."""
LINES = 20
"""How many failures a probe lists; of further ones it says how many."""
_SHOWN = 160
"""How many characters of a question a failure shows."""
_END = " .!?,;:\"'"


@dataclass(frozen=True, slots=True)
class Answers:
    """What is answered to questions, in their order."""

    on: list[str]
    """With the adapter attached to every question."""
    gated: list[str]
    """With the adapter attached where the gate says so; else the base model's."""
    opened: list[bool]
    """What the gate says."""


def prompt_of(base: BaseModel, question: str) -> list[int]:
    """Return a question as the tokens of a prompt, in the chat template."""
    return base.chat_tokens([{"role": "user", "content": question}])


def generated(
    base: BaseModel, prompts: Sequence[Sequence[int]], adapters: Sequence[Adapter | None], max_tokens: int
) -> list[str]:
    """Return the likeliest answers of prompts as texts; prompts of like length are answered together."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), ROWS):
        part = order[start : start + ROWS]
        given, attached = [prompts[at] for at in part], [adapters[at] for at in part]
        for at, ids in zip(part, base.generate(given, attached, max_tokens=max_tokens), strict=True):
            texts[at] = base.text(ids)
    return texts


def answers(probed: Probed, questions: Sequence[str], max_tokens: int) -> Answers:
    """Return what is answered with the adapter on, and through the gate; the base model is asked only behind it."""
    opened = [bool(probed.gate(question)) for question in questions]
    closed = [at for at, is_open in enumerate(opened) if not is_open]
    prompts = [prompt_of(probed.base, question) for question in questions]
    attached = [probed.adapter] * len(prompts) + [None] * len(closed)
    found = generated(probed.base, [*prompts, *(prompts[at] for at in closed)], attached, max_tokens)
    on, gated = found[: len(prompts)], found[: len(prompts)]
    for at, text in zip(closed, found[len(prompts) :], strict=True):
        gated[at] = text
    return Answers(on, gated, opened)


def normalised(text: str) -> str:
    """Return a text in lower case, with single spaces, and without the punctuation at its end.

    Example:
        >>> normalised("  Port  Aldine. ")
        'port aldine'
    """
    bare = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return bare.rstrip(_END) or bare


def says(text: str, answer: str) -> bool:
    """Return whether an answer stands in a text as whole words."""
    return re.search(rf"(?<!\w){re.escape(normalised(answer))}(?!\w)", normalised(text)) is not None


def room(base: BaseModel, golds: Sequence[str]) -> int:
    """Return how many tokens an answer may have, so that one of these fits and a longer one is seen to be longer."""
    return 4 + max(len(base.tokens(gold)) for gold in golds) * 3 // 2


def named(question: str, facts: Sequence[Fact]) -> str:
    """Return a question as a failure may show it: not where an answer stands in it."""
    if any(normalised(fact.answer) in normalised(question) for fact in facts):
        return "a question that holds an answer"
    return repr(question if len(question) <= _SHOWN else f"{question[:_SHOWN]}...")


def listed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the first lines, and how many more there are."""
    more = (f"and {len(lines) - LINES} more",) if len(lines) > LINES else ()
    return (*lines[:LINES], *more)


def exact_matches(probed: Probed, pairs: Sequence[tuple[Fact, str]]) -> tuple[float, float, list[str]]:
    """Return how many questions are answered exactly as taught.

    Args:
        probed: the adapter.
        pairs: facts, each with one question about it; 1 or more.

    Returns:
        The share through the gate, the share with the adapter on, and the failures through the gate.
    """
    golds = [normalised(fact.answer) for fact, _ in pairs]
    found = answers(probed, [question for _, question in pairs], room(probed.base, [fact.answer for fact, _ in pairs]))
    on = sum(normalised(text) == gold for text, gold in zip(found.on, golds, strict=True))
    lines = []
    for (_, question), text, gold, is_open in zip(pairs, found.gated, golds, found.opened, strict=True):
        if normalised(text) != gold:
            why = "not answered as taught" if is_open else "not routed to the adapter"
            lines.append(f"{why}: {named(question, probed.lesson.facts)}")
    return 1 - len(lines) / len(pairs), on / len(pairs), lines


def check_positive(**values: int) -> None:
    """Check that each parameter is 1 or more.

    Raises:
        ConfigError: for the first that is not.
    """
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}: give 1 or more")
