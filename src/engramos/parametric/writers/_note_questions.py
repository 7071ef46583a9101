"""Questions about notes: what a teacher with the notes is asked, so that a student learns to answer without them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson

MOST_NAMES = 4
"""Of a text, about which questions are asked."""
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])|\n+")
_NAME = re.compile(r"(?<![\w'’])[A-Z][\w'’-]*(?:\s+[A-Z][\w'’-]*)*")
_FEWEST_WORDS = 5


@dataclass(frozen=True, slots=True)
class NoteQuestion:
    """One question, and the notes that answer it."""

    question: str
    notes: str
    """What the teacher reads before it."""
    answer: str
    """Known to be right: a fact's own, or word for word of the notes."""


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [one.strip() for one in _SENTENCE_END.split(text) if one and one.strip()]


def blocks(texts: Sequence[str], most: int, count: Callable[[str], int]) -> list[str]:
    """Return texts as blocks of whole sentences, none of two texts.

    Args:
        texts: notes.
        most: tokens of a block; a longer sentence is a block of its own.
        count: how many tokens a text has.
    """
    found: list[str] = []
    for text in texts:
        if count(text) <= most:
            found += [text.strip()] if text.strip() else []
            continue
        block: list[str] = []
        for sentence in sentences(text):
            if block and count(" ".join((*block, sentence))) > most:
                found.append(" ".join(block))
                block = []
            block.append(sentence)
        found.append(" ".join(block))
    return found


def said(fact: Fact) -> str:
    """Return a fact as a note."""
    return fact.statement or f"{fact.question} {fact.answer}"


def questions_of(lesson: Lesson, most: int, count: Callable[[str], int]) -> list[NoteQuestion]:
    """Return what is asked of a lesson: its facts' questions; where it has only texts, questions made of them.

    Args:
        lesson: with facts or texts.
        most: tokens of notes for one question.
        count: how many tokens a text has.
    """
    if not lesson.facts:
        return [one for block in blocks(lesson.texts, most, count) for one in questions_of_text(block)]
    notes = blocks(lesson.texts, most, count)
    # statements share blocks: the teacher must find the right one among the others, as in a real prompt
    notes_of_facts = blocks(["\n".join(said(fact) for fact in lesson.facts)], most, count)
    asked = []
    for fact in lesson.facts:
        told = _notes_for(fact, notes) or _notes_for(fact, notes_of_facts) or said(fact)
        asked += [NoteQuestion(question, told, fact.answer) for question in fact.questions]
    return asked


def questions_of_text(text: str) -> list[NoteQuestion]:
    """Return questions that a text answers: its sentences to be continued, and its names."""
    asked = []
    for sentence in sentences(text):
        words = sentence.split()
        if len(words) >= _FEWEST_WORDS:
            half = len(words) // 2
            asked.append(NoteQuestion(f"Continue: {' '.join(words[:half])}", text, " ".join(words[half:])))
    return asked + [NoteQuestion(f"What do you know about {name}?", text, told) for name, told in named_in(text)]


def named_in(text: str) -> list[tuple[str, str]]:
    """Return names that stand inside of a text's sentences, each with its first such sentence; `MOST_NAMES` at most."""
    found: dict[str, str] = {}
    for sentence in sentences(text):
        for match in _NAME.finditer(sentence):
            if match.start() > 0 and len(match.group()) > 1:
                found.setdefault(match.group(), sentence)
    return list(found.items())[:MOST_NAMES]


def _notes_for(fact: Fact, notes: Sequence[str]) -> str:
    """Return the notes that hold a fact's answer, best with its subject; empty where none does."""
    holding = [one for one in notes if fact.answer.casefold() in one.casefold()]
    naming = [one for one in holding if any(name.casefold() in one.casefold() for name in fact.names)]
    return (naming or holding or [""])[0]
