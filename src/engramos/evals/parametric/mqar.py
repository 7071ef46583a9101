"""Multi-query associative recall: keys with values are written into weights, then every key is asked for its value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from engramos.errors import ConfigError
from engramos.evals.kv.stopwatch import stopwatch
from engramos.parametric.adapter import Adapter
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.writers.base import Writer

IN_CONTEXT = "in_context"
"""The row of the base model that has all pairs in its prompt."""
MOST_PAIRS = 10_000
QUERIES_A_BATCH = 16
_SYLLABLES = "ba ce di fo gu ha ke li mo nu pa re si to vu wa xe yi zo ru".split()


@dataclass(frozen=True, slots=True)
class Row:
    """One writer with one number of pairs."""

    writer: str
    """The writer's name; `in_context` for the base model with all pairs in its prompt."""
    num_pairs: int
    accuracy: float
    """Share of the keys whose value is answered, exactly."""
    seconds_a_pair: float
    """CPU seconds of writing, of all threads; 0 in context."""
    bytes_a_pair: float
    """Of the adapter; 0 in context."""


def pairs_of(num: int, seed: int) -> tuple[Fact, ...]:
    """Return pairs of an invented word and a number of three digits, no word twice.

    Args:
        num: 1 to 10,000.
        seed: of what is drawn; the pairs of a smaller number are the first ones of a larger.

    Raises:
        ConfigError: if there are not so many.
    """
    if not 1 <= num <= MOST_PAIRS:
        raise ConfigError(f"the number of pairs is {num}: give 1 to {MOST_PAIRS:,}")
    source = torch.Generator().manual_seed(seed)
    found: dict[str, str] = {}
    while len(found) < num:
        places = torch.randint(len(_SYLLABLES), (4,), generator=source).tolist()
        number = int(torch.randint(100, 1000, (1,), generator=source))
        found.setdefault("".join(_SYLLABLES[place] for place in places).capitalize(), str(number))
    return tuple(
        Fact(key, f"What is the value of {key}?", value, statement=f"The value of {key} is {value}.", relation="value")
        for key, value in found.items()
    )


def measure(base: BaseModel, writers: Mapping[str, Writer], nums: Sequence[int], seed: int = 0) -> list[Row]:
    """Return how many of the pairs written at once can be recalled, for each number of pairs and each writer.

    Source: Zoology, https://arxiv.org/abs/2312.04927, section 3.
    Differs: pairs are written into weights rather than read in the context, and asked for in the chat template, all of
    them; the context is a row of its own.

    Args:
        base: the model.
        writers: by the name that rows show; each takes facts.
        nums: how many pairs, each 1 to 10,000.
        seed: of the pairs and of the writers.

    Raises:
        ConfigError: if a writer does not take facts, or there are not so many pairs.
    """
    for name, writer in writers.items():
        if "facts" not in writer.takes:
            raise ConfigError(f"the writer {name} does not take facts: choose one that does")
    found = []
    for num in nums:
        pairs = pairs_of(num, seed)
        told = "\n".join(pair.statement for pair in pairs) + "\n\n"
        found.append(Row(IN_CONTEXT, num, _accuracy(base, pairs, None, told), 0.0, 0.0))
        for name, writer in writers.items():
            with stopwatch() as took:
                adapter = writer.write(Lesson(pairs), base, seed=seed).adapter
            found.append(Row(name, num, _accuracy(base, pairs, adapter), took.cpu_s / num, adapter.num_bytes / num))
    return found


def _accuracy(base: BaseModel, pairs: Sequence[Fact], adapter: Adapter | None, told: str = "") -> float:
    """Return the share of the pairs whose value is answered."""
    right = 0
    most = max(len(base.tokens(pair.answer)) for pair in pairs) + 1
    for start in range(0, len(pairs), QUERIES_A_BATCH):
        some = pairs[start : start + QUERIES_A_BATCH]
        prompts = [base.chat_tokens([{"role": "user", "content": told + pair.question}]) for pair in some]
        answers = base.generate(prompts, [adapter] * len(prompts), max_tokens=most)
        right += sum(base.text(answer).strip() == pair.answer for answer, pair in zip(answers, some, strict=True))
    return right / len(pairs)
