"""Long running text: books where there are some, else sentences made of a few words."""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError

BOOKS = "gutenberg/*.txt"
MADE, BOOK = "made", "gutenberg"
_SKIPPED = "LICENSE"
_ADJECTIVES = "old quiet heavy narrow bright wooden distant careful empty painted stubborn gentle".split()
_NOUNS = "sailor basket window bridge letter garden engine kitchen teacher horse lantern village".split()
_VERBS = "carried watched repaired followed forgot measured crossed borrowed opened described".split()
_PLACES = "by the river|near the station|behind the mill|after the rain|before winter|at the market".split("|")
_OPENINGS = "In the morning|Some years later|Without a word|For a while|On the way home|That evening".split("|")


@dataclass(frozen=True, slots=True)
class Texts:
    """Where text comes from; the same random numbers give the same text."""

    books: tuple[str, ...] = ()
    """Whole books; none for made sentences."""

    @classmethod
    def read(cls, data: Path | None) -> "Texts":
        """Return the books in a folder with evaluation data; without a folder, made sentences.

        Raises:
            ImportFailedError: if there is a folder, and no book in it.
        """
        if data is None:
            return cls()
        try:
            paths = [path for path in sorted(data.glob(BOOKS)) if _SKIPPED not in path.name]
            books = tuple(unwrapped(path.read_text(encoding="utf-8")) for path in paths)
        except (OSError, UnicodeDecodeError) as error:
            raise ImportFailedError(str(data / BOOKS), "file", f"cannot be read ({error}): check it") from error
        if not books:
            step = "is missing: put books there as text, or give no folder with data, and sentences are made"
            raise ImportFailedError(str(data / BOOKS), "file", step)
        return cls(books)

    @property
    def source(self) -> str:
        """What the text is: `gutenberg` or `made`."""
        return BOOK if self.books else MADE

    def tokens(self, engine: Any, source: random.Random, num_tokens: int) -> list[int]:
        """Return running text of exactly so many tokens, which begins with a sentence.

        Args:
            engine: turns text into tokens.
            source: of the choice.
            num_tokens: 1 or more.
        """
        size = 8 * num_tokens
        while True:
            found = engine.tokens(self.letters(source, size))
            if len(found) >= num_tokens:
                return found[:num_tokens]
            size *= 2

    def letters(self, source: random.Random, size: int) -> str:
        """Return at least `size` letters of running text, beginning with a sentence; arguments as of `tokens`."""
        if not self.books:
            return made_text(source, size)
        text, parts, num = source.choice(self.books), [], 0
        # first and last tenth are title pages, licences and lists
        at = source.randrange(len(text) // 10, max(len(text) // 10 + 1, len(text) * 9 // 10 - size))
        at = text.find(". ", at) + 2 or at
        while num < size:
            parts.append(text[at : at + size - num] or " ")
            num += len(parts[-1])
            at = len(text) // 10
        return "".join(parts)


def unwrapped(text: str) -> str:
    """Return a text with each paragraph on one line, as text is written for screens and models."""
    return re.sub(r"(?<!\n) *\n(?!\n)", " ", text)


def made_text(source: random.Random, size: int) -> str:
    """Return sentences of common words, at least `size` letters of them."""
    sentences, num = [], 0
    while num < size:
        subject, thing = (f"{source.choice(_ADJECTIVES)} {source.choice(_NOUNS)}" for _ in range(2))
        middle = f"the {subject} {source.choice(_VERBS)} the {thing} {source.choice(_PLACES)}"
        sentences.append(f"{source.choice(_OPENINGS)} {middle}. ")
        num += len(sentences[-1])
    return "".join(sentences)
