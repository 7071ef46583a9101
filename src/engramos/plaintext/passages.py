"""Splitting a document into the parts that a search finds."""

import re
from collections.abc import Iterator

_HEADING = re.compile(r"(?m)^(?=#{1,6}\s)")
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")


def passages(text: str, *, is_markdown: bool = False, target_chars: int = 800, most_chars: int = 1_600) -> list[str]:
    """Return the parts of a text in order, none of them blank.

    Paragraphs are joined up to about `target_chars` and never over `most_chars`; longer ones are cut between
    sentences, else between words, else anywhere. Markdown is cut at headings first.

    Source: ours, decision 0007.
    """
    sections = _HEADING.split(text) if is_markdown else [text]
    return [part for section in sections for part in _joined(section, target_chars, most_chars)]


def _joined(section: str, target_chars: int, most_chars: int) -> Iterator[str]:
    held = ""
    for paragraph in _PARAGRAPH.split(section):
        for piece in _pieces(paragraph.strip(), most_chars):
            if held and len(held) + len(piece) + 2 > most_chars:
                yield held
                held = ""
            held = f"{held}\n\n{piece}" if held else piece
            if len(held) >= target_chars:
                yield held
                held = ""
    if held:
        yield held


def _pieces(paragraph: str, most_chars: int) -> Iterator[str]:
    if not paragraph:
        return
    held = ""
    for sentence in _SENTENCE.split(paragraph) if len(paragraph) > most_chars else [paragraph]:
        for piece in _cut(sentence, most_chars):
            if held and len(held) + len(piece) + 1 > most_chars:
                yield held
                held = ""
            held = f"{held} {piece}" if held else piece
    if held:
        yield held


def _cut(sentence: str, most_chars: int) -> Iterator[str]:
    start = 0
    while len(sentence) - start > most_chars:
        end = sentence.rfind(" ", start + most_chars // 2, start + most_chars)
        end = start + most_chars if end < 0 else end
        yield sentence[start:end].strip()
        start = end
    if rest := sentence[start:].strip():
        yield rest
