"""A sample of TOFU: facts about authors who do not exist, and questions about what does."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engramos.errors import ConfigError, ImportFailedError
from engramos.parametric.facts import Fact

FORGET, RETAIN = "tofu_sample/forget_dev.jsonl", "tofu_sample/retain_dev.jsonl"
AUTHORS, WORLD = "tofu_sample/real_authors_dev.jsonl", "tofu_sample/world_facts_dev.jsonl"
LEAST_WORDS, MOST_WORDS = 3, 12
"""Of an answer: shorter ones say yes or no, and longer ones take a small model too long to write."""
NUM_OTHERS = 20
"""Questions about real authors, and as many about the world."""
_CLAUSE_END = re.compile(r"(?<=[a-zà-ÿ])[.,;:](?=\s)")
_NAME = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)+")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is taught, and what of it is to be forgotten."""

    forget: tuple[Fact, ...]
    retain: tuple[Fact, ...]
    authors: tuple[str, ...]
    """Questions about real authors."""
    world: tuple[str, ...]
    """Questions about the world."""

    @property
    def others(self) -> tuple[str, ...]:
        """All questions that nothing is taught about, those about authors first."""
        return self.authors + self.world


def sample(data: Path, num: int, seed: int = 0) -> Sample:
    """Return a sample of so many facts to forget, and as many to keep.

    Source: TOFU, https://arxiv.org/abs/2401.06121, section 2.
    Differs: answers are cut to their first clause, and those of 3 to 12 words are taken.

    Args:
        data: the folder with evaluation data.
        num: 2 or more.
        seed: of the choice.

    Raises:
        ConfigError: if there are not so many.
        ImportFailedError: if a file is missing or damaged.
    """
    if num < 2:
        raise ConfigError(f"the number of questions is {num}: give 2 or more")
    forget, retain = (_drawn(data / path, num, seed) for path in (FORGET, RETAIN))
    authors, world = (questions_in(data / path)[:NUM_OTHERS] for path in (AUTHORS, WORLD))
    return Sample(forget, retain, authors, world)


def questions_in(path: Path) -> tuple[str, ...]:
    """Return the questions of a file of TOFU.

    Raises:
        ImportFailedError: if it is missing or damaged.
    """
    return tuple(question for question, _ in _pairs(path))


def clause(answer: str) -> str:
    """Return an answer up to the end of its first clause, without the mark there.

    Example:
        >>> clause("Ana was born on June 9, 1951 in Porto, Portugal.")
        'Ana was born on June 9, 1951 in Porto'
    """
    return _CLAUSE_END.split(answer.strip(), maxsplit=1)[0].rstrip(".,;: ")


def _drawn(path: Path, num: int, seed: int) -> tuple[Fact, ...]:
    facts: dict[str, Fact] = {}
    for question, answer in _pairs(path):
        short = clause(answer)
        if LEAST_WORDS <= len(short.split()) <= MOST_WORDS:
            name = _NAME.search(short) or _NAME.search(question)
            facts.setdefault(question, Fact(name[0] if name else question, question, short))
    if len(facts) < num:
        raise ConfigError(f"{path.name} has {len(facts)} questions with a short answer: ask for {len(facts)} or fewer")
    return tuple(random.Random(f"tofu {seed}").sample(list(facts.values()), num))


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailedError(str(path), "file", f"cannot be read ({error}): put the sample of TOFU there") from error
    for number, line in enumerate(lines, start=1):
        try:
            one = json.loads(line)
            yield str(one["question"]), str(one["answer"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ImportFailedError(str(path), f"line {number}", "is no question with its answer: mend it") from error
