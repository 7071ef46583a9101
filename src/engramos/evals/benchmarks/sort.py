"""SORT: which of two segments came first in a book? Told from the stored order, with no LLM."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.cube import MemCube
from engramos.errors import ImportFailedError
from engramos.evals.benchmarks._data_read import field, load_lines, one_file, read_text
from engramos.evals.benchmarks.base import Answered, Benchmark, Loaded, Part, Question, Searching, turn_of
from engramos.messages import Message

ORIGIN = "the makers of the pairs, or build them as github.com/bridge-ai-neuro/SORT does"
PART_WORDS = 20
"""As long as the shorter segments, so that two segments never lie in one part."""
START = datetime(2024, 1, 1, tzinfo=UTC)
_BEGIN = re.compile(r"\*\*\* ?START OF[^\n]*\*\*\*")
_END = re.compile(r"\*\*\* ?END OF")


@dataclass(frozen=True, slots=True)
class Pair(Question):
    """Two segments, and which of them came first: 1 or 2."""

    segments: tuple[str, str]
    first: int


@dataclass(frozen=True, slots=True)
class Sort(Benchmark):
    """`accuracy`: how often the stored order of the best part for each segment is the order in the book; 0.5 by chance.

    Each whole book is one user's memory, a part of 20 words a message, said one second after the other. Two searches
    with the segments' words return one part each, and the one that was stored first is the answer; nothing found, or
    one part for both, is wrong. `both_found` is the share of pairs whose two parts are parts of their segments.
    Words are what white space separates between Gutenberg's two marks, without underscores (italics); the place that a
    pair names is checked. The pairs are the one `DIR/sort_style/sort_*.jsonl`, the books lie in `DIR/gutenberg`.
    Categories are the lengths of the excerpts, such as `250w`: two segments of longer ones lie further apart.

    Source: Pink et al. 2024, Assessing Episodic Memory in LLMs with Sequence Order Recall Tasks,
    https://arxiv.org/abs/2410.08133.
    Differs: the memory holds the whole book where a prompt holds the excerpt, and no model answers.
    """

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"part": turn_of})
    shown: ClassVar[tuple[str, ...]] = ("accuracy", "both_found")

    def load(self, data: Path) -> Loaded:
        """Return the books and the pairs; see `Benchmark.load`."""
        path = one_file(data / "sort_style", "sort_*.jsonl", ORIGIN)
        records = load_lines(path)
        if not records:
            raise ImportFailedError(str(path), "line 1", "has no pair: copy the file again")
        names = [field(path, f"line {number}", one, "book", str) for number, one in enumerate(records, start=1)]
        books = {name: book_words(data / "gutenberg" / Path(name).name) for name in sorted(set(names))}
        parts = [Part(name, _messages(name, words)) for name, words in books.items()]
        pairs = [
            _pair(path, number, one, name, books[name])
            for number, (name, one) in enumerate(zip(names, records, strict=True), start=1)
        ]
        return Loaded(parts, pairs, {"questions": len(pairs)})

    def answer(self, search: Searching, question: Question) -> Answered:
        """Search for both segments, and compare the places of what is found first."""
        assert isinstance(question, Pair)
        found = [next(iter(search(segment, 1)), None) for segment in question.segments]
        return _compared(question, found)


def book_words(path: Path) -> list[str]:
    """Return the words of a book of Project Gutenberg, without its header and footer and the marks of italics.

    Raises:
        ImportFailedError: if the file is missing, no text, or a mark is missing.
    """
    text = read_text(path)
    begin, end = _BEGIN.search(text), _END.search(text)
    if begin is None or end is None:
        mark = "END" if begin else "START"
        raise ImportFailedError(str(path), f"*** {mark} OF", "is missing: it is cut off, or no book of Gutenberg")
    return text[begin.end() : end.start()].replace("_", "").split()


def _messages(book: str, words: Sequence[str]) -> list[Message]:
    return [
        Message(
            " ".join(words[start : start + PART_WORDS]),
            "user",
            at=START + timedelta(seconds=number),
            session=book,
            message_id=_name(book, start),
        )
        for number, start in enumerate(range(0, len(words), PART_WORDS))
    ]


def _name(book: str, word: int) -> str:
    return f"{book}#{word // PART_WORDS}"


def _pair(path: Path, number: int, record: Any, book: str, words: Sequence[str]) -> Pair:
    where = f"line {number}"
    start, length, distance, first = (
        field(path, where, record, key, int)
        for key in ("excerpt_start_word", "excerpt_words", "distance_words", "first")
    )
    segments = (field(path, where, record, "segment_1", str), field(path, where, record, "segment_2", str))
    if start < 0 or length < 1:
        problem = f"has excerpt_start_word {start} and excerpt_words {length}: copy the file again"
        raise ImportFailedError(str(path), where, problem)
    excerpt = words[start : start + length]
    # a segment may stand in an excerpt more than once: the distance tells which is meant
    placed = [
        (one, two)
        for one in _places(excerpt, segments[0])
        for two in _places(excerpt, segments[1])
        if abs(one - two) == distance and (one < two) == (first == 1)
    ]
    if first not in (1, 2) or len(placed) != 1:
        problem = f"the segments do not stand once in {book} as it says: take pairs and books of one version"
        raise ImportFailedError(str(path), where, problem)
    asked_at = START + timedelta(seconds=len(words))
    gold = frozenset(
        _name(book, start + at + word)
        for at, segment in zip(placed[0], segments, strict=True)
        for word in range(len(segment.split()))
    )
    text = f"{segments[0]} {segments[1]}"
    return Pair(f"pairs[{number}]", book, text, asked_at, (f"{length}w",), {"part": gold}, segments, first)


def _places(words: Sequence[str], segment: str) -> Iterator[int]:
    wanted = segment.split()
    last = len(words) - len(wanted)
    return (at for at in range(last + 1) if words[at] == wanted[0] and words[at : at + len(wanted)] == wanted)


def _compared(pair: Pair, found: Sequence[MemCube | None]) -> Answered:
    units = [turn_of(cube) for cube in found if cube is not None]
    # ids sort by time of making, so they are the stored order
    one, two = (cube.id if cube is not None else "" for cube in found)
    is_known = len(set(units)) == 2
    is_right = is_known and (one < two) == (pair.first == 1)
    both = is_known and set(units) <= pair.gold["part"]
    return Answered({"": {"accuracy": float(is_right), "both_found": float(both)}}, units)
