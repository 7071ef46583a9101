"""FactConsolidation: facts of which later ones override earlier ones; does the newest come first?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ImportFailedError
from engramos.evals.benchmarks._data_read import field, one_file
from engramos.evals.benchmarks.base import Answered, Benchmark, Loaded, Part, Question, Searching, turn_of
from engramos.importers._json_file import load_json
from engramos.messages import Message

ORIGIN = "the makers of the lists, or build them as MemoryAgentBench's FactConsolidation does"
SIZES = ("6k", "32k")
START = datetime(2024, 1, 1, tzinfo=UTC)
_FACT = re.compile(r"(\d{1,9})\. (.*\S)", re.ASCII)


@dataclass(frozen=True, slots=True)
class FactQuestion(Question):
    """A question about a subject, with the newest answer and the one that it replaced."""

    subject: str
    answer: str
    stale_answer: str


@dataclass(frozen=True, slots=True)
class Factconsolidation(Benchmark):
    """`newest` and `stale`: which answer the first found fact gives; and recall of the newest fact.

    Each list is one user's memory. A fact is one message; its number is its id and the minute it was said in, so that
    order is time, and it does not stand in the text. The first hit gives an answer if it is about the question's
    subject and the rest of it holds the answer, whatever the case of letters: `newest` if that is the newest answer,
    `stale` if it is the replaced one and not the newest. The gold fact is the one that says the question's `cloze`
    with the newest answer. Files: `DIR/factconsolidation_style/fc_single_hop*_6k.json` and `..._32k.json`.

    Source: Hu et al. 2025, Evaluating Memory in LLM Agents via Incremental Multi-Turn Interactions,
    https://arxiv.org/abs/2507.05257.
    Differs: the first found fact stands for the generated answer, and the subject is left out before it is read, so
    that "Prague is a twin city of Kyoto" does not answer "Prague".
    """

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"fact": turn_of})
    shown: ClassVar[tuple[str, ...]] = ("newest", "stale")

    def load(self, data: Path) -> Loaded:
        """Return the lists and their questions; see `Benchmark.load`."""
        folder = data / "factconsolidation_style"
        parts: list[Part] = []
        questions: list[Question] = []
        for size in SIZES:
            path = one_file(folder, f"fc_single_hop*_{size}.json", ORIGIN)
            value = load_json(path)
            facts = _facts(path, field(path, "top level", value, "context", str))
            parts.append(Part(size, _messages(size, facts)))
            found = list(_questions(path, size, facts, field(path, "top level", value, "questions", list)))
            if not found:
                raise ImportFailedError(str(path), "questions", "has none: copy the file again")
            questions += found
        return Loaded(parts, questions, {"questions": len(questions)})

    def answer(self, search: Searching, question: Question) -> Answered:
        """Search for a question, and read the answer that the first found fact gives."""
        assert isinstance(question, FactQuestion)
        first: list[str] = []

        def noting(text: str, limit: int) -> Sequence[Any]:
            cubes = search(text, limit)
            first[:] = [cube.text for cube in cubes[:1]]
            return cubes

        # zero-argument super() does not work in a dataclass with slots before Python 3.14
        recall = Benchmark.answer(self, noting, question)
        said = said_of(first[0] if first else "", question.subject)
        is_newest = question.answer.casefold() in said
        is_stale = not is_newest and question.stale_answer.casefold() in said
        whole = {"newest": float(is_newest), "stale": float(is_stale)}
        return Answered({"": whole, **recall.metrics}, recall.found)


def said_of(fact: str, subject: str) -> str:
    """Return what a fact says of a subject, in folded case: the text without the subject's first mention.

    Example:
        >>> said_of("Prague is a twin city of Kyoto.", "Prague")
        ' is a twin city of kyoto.'
        >>> said_of("Oslo is in Norway.", "Prague")
        ''
    """
    before, mention, after = fact.casefold().partition(subject.casefold())
    return before + after if mention else ""


def _facts(path: Path, context: str) -> list[str]:
    found = []
    for number, line in enumerate(context.strip().split("\n")):
        match = _FACT.fullmatch(line.strip())
        if match is None or int(match[1]) != number:
            problem = f"fact {number} is due, not {line[:80]!r}: it is another version, or facts are missing"
            raise ImportFailedError(str(path), f"context line {number + 1}", problem)
        found.append(match[2])
    return found


def _messages(size: str, facts: Sequence[str]) -> list[Message]:
    return [
        Message(fact, "user", at=START + timedelta(minutes=at), session=size, message_id=_name(size, at))
        for at, fact in enumerate(facts)
    ]


def _name(size: str, number: int) -> str:
    return f"{size}:{number}"


def _questions(path: Path, size: str, facts: Sequence[str], asked: Sequence[Any]) -> Iterator[FactQuestion]:
    asked_at = START + timedelta(minutes=len(facts))
    for number, record in enumerate(asked):
        where = f"questions[{number}]"
        text, cloze, subject, answer, stale = (
            field(path, where, record, key, str) for key in ("question", "cloze", "subject", "answer", "stale_answer")
        )
        newest, replaced = (_stating(facts, f"{cloze} {said}") for said in (answer, stale))
        if not newest or not replaced or max(newest) < max(replaced):
            problem = (
                "the list does not state its answer after the stale one: list and questions do not belong together"
            )
            raise ImportFailedError(str(path), where, problem)
        gold = {"fact": frozenset({_name(size, max(newest))})}
        yield FactQuestion(f"{size}[{number}]", size, text, asked_at, (size,), gold, subject, answer, stale)


def _stating(facts: Sequence[str], statement: str) -> list[int]:
    return [at for at, fact in enumerate(facts) if fact.rstrip(".?! ") == statement.rstrip(".?! ")]
