"""What is asked of a cache: pass keys hidden in a text that goes on, and tasks in the style of RULER."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engramos.errors import ConfigError, ImportFailedError
from engramos.evals.kv.texts import Texts

PASSKEY, RULER = "passkey", "ruler"
TASKS = (PASSKEY, RULER)
"""Names of the tasks, in the order in which they are run."""
FOLLOWING = 64
"""Tokens of the text that are read on after its compressed beginning."""
NUM_KEYS = 3
"""Pass keys in one text: one for the first question, the others for those that follow it."""
MIN_TEXT = 32
"""Tokens of text that there must be beside the pass keys."""
ROOM = 256
"""Tokens of the model's window that questions and answers may need beside the text."""
_DOORS = "harbour library garden kitchen station museum theatre castle stable chapel".split()
_OPENING = "Read the text and remember the pass keys that are hidden in it.\n\n"
_SPARE_TOKENS = 12
"""Tokens that an answer in the style of RULER may have beyond what is expected."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a text."""

    asked: tuple[int, ...]
    """Its tokens."""
    answer: tuple[int, ...] = ()
    """The tokens of the right answer, where there is one way to write it."""
    expected: tuple[str, ...] = ()
    """What a right answer holds, where it may be written in several ways."""
    max_tokens: int = 16
    """Of an answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and what is asked about it."""

    name: str
    """Such as `passkey-1024-3`."""
    task: str
    length: int
    """As it was asked for, in tokens; a task in the style of RULER has about so many."""
    context: tuple[int, ...]
    questions: tuple[Question, ...] = ()
    following: tuple[int, ...] = ()
    """How the text goes on, where that is measured."""
    kind: str = ""
    """The task of RULER."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The groups that it stands in."""
        return tuple(one for one in (self.task, f"{self.task}.{self.length}", self.kind) if one)


def passkey_samples(engine: Any, texts: Texts, length: int, num: int, seed: int) -> Iterator[Sample]:
    """Yield texts of exactly `length` tokens with three pass keys each; the first's depth goes from 0.1 to 0.9.

    Source: the needle as in Landmark Attention, https://arxiv.org/abs/2305.16300, section 4.2.
    Differs: several keys, each of a named door, so that one cache can be asked again; real text around them.

    Args:
        engine: turns text into tokens.
        texts: in which they are hidden.
        length: 256 or more.
        num: how many.
        seed: of texts and keys.

    Raises:
        ConfigError: if the length has no room for text beside the keys.
    """
    for index in range(num):
        source = random.Random(f"{PASSKEY} {length} {index} {seed}")
        doors = source.sample(_DOORS, NUM_KEYS)
        keys = [str(source.randrange(10_000, 100_000)) for _ in doors]
        hidden = [engine.tokens(_hidden(door, key)) for door, key in zip(doors, keys, strict=True)]
        opening = engine.tokens(_OPENING)
        left = length - len(opening) - sum(map(len, hidden))
        if left < MIN_TEXT:
            raise ConfigError(f"length {length} leaves {left} tokens for text beside the pass keys: give a greater one")
        text = texts.tokens(engine, source, left + FOLLOWING)
        text, following = text[:left], tuple(text[left:])
        first = (index + 0.5) / num if num < 2 else index / (num - 1)
        depths = [0.1 + 0.8 * ((first + at / NUM_KEYS) % 1.0 if at else first) for at in range(NUM_KEYS)]
        context, end = list(opening), 0
        for depth, tokens in sorted(zip(depths, hidden, strict=True)):
            place = round(depth * len(text))
            context += [*text[end:place], *tokens]
            end = place
        questions = [_asked(engine, door, key) for door, key in zip(doors, keys, strict=True)]
        name = f"{PASSKEY}-{length}-{index}"
        yield Sample(name, PASSKEY, length, (*context, *text[end:]), tuple(questions), following)


def _hidden(door: str, key: str) -> str:
    return f"\n\nThe pass key of the {door} is {key}. Remember it. {key} is the pass key of the {door}.\n\n"


def _asked(engine: Any, door: str, key: str) -> Question:
    asked = engine.tokens(f"\n\nWhat is the pass key of the {door}? The pass key of the {door} is")
    answer = engine.tokens(f" {key}")
    # a space of its own is no digit that anybody has to remember
    while len(answer) > 1 and not engine.text(answer[:1]).strip():
        asked.append(answer.pop(0))
    return Question(tuple(asked), tuple(answer))


def ruler_samples(engine: Any, data: Path, length: int, num: int) -> Iterator[Sample]:
    """Yield the first tasks of a file in the style of RULER, one of each kind before the second of any.

    What the text is about stands at its end and at its beginning; the context ends before the last question, so that it
    can be compressed without it.

    Source: RULER, https://arxiv.org/abs/2404.06654; the form of the questions is its own.

    Raises:
        ImportFailedError: if there is no file of this length, or it has another form.
    """
    path = ruler_file(data, length)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows.sort(key=lambda row: row["index"])
        for row in rows[:num]:
            context, question = split_question(row["input"])
            expected = tuple(map(str, row["outputs"]))
            most = len(engine.tokens(" " + ", ".join(expected))) + _SPARE_TOKENS
            asked = Question(tuple(engine.tokens(question)), expected=expected, max_tokens=most)
            name = f"{RULER}-{length}-{row['task']}-{row['index']}"
            yield Sample(name, RULER, length, tuple(engine.tokens(context)), (asked,), kind=row["task"])
    except OSError as error:
        raise ImportFailedError(str(path), "file", f"cannot be read ({error}): check --data and --length") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ImportFailedError(str(path), "a task", f"has another form ({error!r}): use the original file") from error


def ruler_file(data: Path, length: int) -> Path:
    """Return where the tasks of one length lie."""
    return data / "ruler_style" / f"ruler_dev_{length}.jsonl"


def split_question(text: str) -> tuple[str, str]:
    """Return a text without its last question, and the question with the beginning of its answer.

    Raises:
        ValueError: if it holds no question on a line of its own.
    """
    at = max(text.rfind("\nQuestion:"), text.rfind("\nWhat "))
    if at < 0:
        raise ValueError("no line begins with a question")
    # a space at the end would be a token that the answer's first word has already
    return text[:at], text[at:].rstrip()


def recalled_share(text: str, expected: Sequence[str]) -> float:
    """Return the share of what is expected that a text holds, case apart: RULER's `string_match_all`."""
    return sum(one.lower() in text.lower() for one in expected) / len(expected)
