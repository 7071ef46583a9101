"""Facts out of a file, and facts put into a memory as the cubes that they are written from."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engramos.changes import Create
from engramos.cube import MemCube, PlaintextPayload
from engramos.errors import ImportFailedError, InvalidInputError
from engramos.memory import MemoryOS
from engramos.messages import Message
from engramos.parametric.extractors.statements import READY
from engramos.parametric.facts import Fact, without_duplicates
from engramos.verbs.add import AddOptions, cubes_of
from engramos.verbs.parts import with_entries

TEXTS = ("subject", "question", "answer", "statement", "relation")
LISTS = ("paraphrases", "held_out", "aliases")
_NEEDED = TEXTS[:3]


def read_facts(path: Path) -> tuple[Fact, ...]:
    """Return the facts of a file, one JSON object a line, each once.

    Args:
        path: of lines with `subject`, `question` and `answer`, and, if they like, `paraphrases`, which are trained,
            `held_out`, which are only asked, `statement`, `aliases` and `relation`.

    Raises:
        ImportFailedError: if the file cannot be read, or a line is no fact; it names the line.
        InvalidInputError: if two facts contradict each other.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailedError(str(path), "file", f"cannot be read ({error}): check it") from error
    facts = [_fact(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not facts:
        raise ImportFailedError(str(path), "file", "holds no fact: give one JSON object a line")
    return without_duplicates(tuple(facts))


def _fact(path: Path, number: int, line: str) -> Fact:
    where = f"line {number}"
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise ImportFailedError(str(path), where, f"is no JSON ({error}): mend it") from error
    if not isinstance(given, dict):
        raise ImportFailedError(str(path), where, f"is no object: give {', '.join(_NEEDED)}")
    if unknown := [str(key) for key in given if key not in (*TEXTS, *LISTS)]:
        raise ImportFailedError(str(path), where, f"has {unknown[0][:40]!r}: use {', '.join((*TEXTS, *LISTS))}")
    for key in TEXTS:
        if not isinstance(given.get(key, None if key in _NEEDED else ""), str):
            raise ImportFailedError(str(path), where, f"{key} is missing or no text: give one")
    for key in LISTS:
        value = given.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ImportFailedError(str(path), where, f"{key} is no list of texts: give one")
    try:
        return Fact(**{key: tuple(value) if key in LISTS else value for key, value in given.items()})
    except InvalidInputError as error:
        raise ImportFailedError(str(path), where, str(error)) from error


def store(memory: MemoryOS, facts: Sequence[Fact]) -> tuple[str, ...]:
    """Keep each fact as a plaintext cube that `learn` writes as it is, and return the cubes' ids, in one commit."""
    cubes = [cube for place, fact in enumerate(facts) for cube in _cubes(memory, fact, place)]
    memory._parts.commit(with_entries(memory._parts, Create, cubes), memory.scope, reason="eval")
    return tuple(cube.id for cube in cubes)


def _cubes(memory: MemoryOS, fact: Fact, place: int) -> Iterator[MemCube]:
    text = fact.statement or f"{fact.subject}: {fact.answer}."
    for cube in cubes_of((Message(text), place), memory.scope, AddOptions(type="fact")):
        assert isinstance(cube.payload, PlaintextPayload)
        yield MemCube(cube.header, replace(cube.payload, attributes={READY: _ready(fact)}))


def _ready(fact: Fact) -> dict[str, Any]:
    texts = {key: getattr(fact, key) for key in TEXTS if getattr(fact, key)}
    return texts | {key: list(getattr(fact, key)) for key in LISTS if getattr(fact, key)}
