"""Names found in a question as whole words, in thousands of keys at once.

Case and accents are folded, `'s` may follow, and the longest name wins where two overlap. Scripts that put no spaces
between words are read letter by letter. A dictionary from the first word of the names tells which lengths to look up,
so that the time depends on the question and hardly on the number of names.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from engramos.parametric.routers._common_words import ARTICLES, BEFORE_MONTHS, COMMON, MONTHS
from engramos.parametric.routers.base import Key

MAX_QUESTION = 20_000
"""Characters of a question that are read."""
_SPELT = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d", "þ": "th"})
_KEPT_MARKS = (7, 8, 9)
"""Combining classes of marks that make another letter: nukta, voicing of kana, virama."""
_PLAIN = re.compile(r"[A-Za-z0-9]+(?:[+#]+(?![A-Za-z0-9]))?")
"""Words of ASCII alone, found much faster than letter by letter."""
_OWNING = frozenset(("s", "ll", "d", "re", "ve", "m"))
_ELIDED = frozenset(("l", "d", "qu", "j", "m", "t", "s", "n", "c"))
_JOINTS = frozenset("-‐‑_@")
_APOSTROPHES = frozenset("'’ʼ")
_SPACELESS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x309F),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Thai and Lao, Burmese, Khmer, hiragana and Han; katakana words count as words."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text."""

    folded: str
    shown: str
    start: int
    end: int
    is_letter: bool = False
    """Whether it is one letter of a script without spaces."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A name that a question holds."""

    name: str
    keys: tuple[int, ...]
    """Places of the keys that have this name."""
    start: int
    """At which word."""
    length: int
    """In words."""


@dataclass(slots=True)
class Names:
    """All names of some keys, by their words."""

    by_words: dict[tuple[str, ...], list[tuple[str, tuple[str, ...], list[int]]]] = field(default_factory=dict)
    """Folded words to the ways in which they are spelt: the name, its words as shown, and the keys that have it."""
    lengths: dict[str, set[int]] = field(default_factory=dict)
    """A first word to the lengths of the names that begin with it."""

    def add(self, name: str, key: int) -> None:
        """Learn a name; one that holds no word, or one letter of a script without spaces, is never found."""
        words = words_of(name)
        if not words or (len(words) == 1 and words[0].is_letter):
            return
        folded, shown = tuple(word.folded for word in words), tuple(word.shown for word in words)
        spelt = self.by_words.setdefault(folded, [])
        same = next((keys for _, known, keys in spelt if known == shown), None)
        if same is None:
            spelt.append((name, shown, [key]))
        elif same[-1] != key:
            same.append(key)
        self.lengths.setdefault(folded[0], set()).add(len(folded))

    def found_in(self, question: str) -> list[Hit]:
        """Return the names in a question in their order; the longest of those that overlap."""
        text = question[:MAX_QUESTION]
        words = words_of(text)
        folded = [word.folded for word in words]
        found: list[Hit] = []
        for start, first in enumerate(folded):
            for length in self.lengths.get(first, ()):
                spelt = self.by_words.get(tuple(folded[start : start + length]), ())
                if spelt and start + length <= len(words) and _is_whole(text, words, start, length):
                    found += [
                        Hit(name, tuple(keys), start, length)
                        for name, shown, keys in spelt
                        if _is_meant(text, words, start, shown)
                    ]
        return _longest(found)


def index_of(keys: Sequence[Key]) -> Names:
    """Return the names of keys; those of the last few tuples of keys are kept, and with them the keys' names.

    The same tuple again is known at once; a list, or another tuple of the same keys, is compared key by key.
    """
    return _by_identity(_Same(keys)) if isinstance(keys, tuple) else _by_content(tuple(keys))


def words_of(text: str) -> list[Word]:
    """Return the words of a text, folded and as they are written."""
    if text.isascii():
        return [_word(text, *match.span()) for match in _PLAIN.finditer(text)]
    words: list[Word] = []
    start = None
    for at, letter in enumerate(text):
        if _is_spaceless(letter):
            if start is not None:
                words.append(_word(text, start, at))
                start = None
            if letter.isalnum():
                words.append(Word(fold(letter), letter, at, at + 1, is_letter=True))
        elif letter.isalnum() or (start is not None and _goes_on(text, at)):
            start = at if start is None else start
        elif start is not None:
            words.append(_word(text, start, at))
            start = None
    if start is not None:
        words.append(_word(text, start, len(text)))
    return words


@lru_cache(maxsize=65_536)
def fold(word: str) -> str:
    """Return a word without case, accents and vowel points."""
    low = word.casefold().translate(_SPELT)
    if low.isascii():
        return low
    parts = unicodedata.normalize("NFKD", low)
    kept = (one for one in parts if not unicodedata.combining(one) or unicodedata.combining(one) in _KEPT_MARKS)
    return unicodedata.normalize("NFC", "".join(kept)).casefold()


class _Same:
    """A tuple that equals itself alone, so that looking it up does not read it."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.keys is self.keys

    def __hash__(self) -> int:
        return id(self.keys)


@lru_cache(maxsize=4)
def _by_identity(same: _Same) -> Names:
    return _by_content(same.keys)


@lru_cache(maxsize=4)
def _by_content(keys: tuple[Key, ...]) -> Names:
    names = Names()
    for at, key in enumerate(keys):
        for name in key.names:
            names.add(name, at)
    return names


def _word(text: str, start: int, end: int) -> Word:
    return Word(fold(text[start:end]), text[start:end], start, end)


def _goes_on(text: str, at: int) -> bool:
    """Return whether a sign that is no letter goes on with the word before it: a mark, or the end of `C++` and `C#`."""
    if unicodedata.category(text[at])[0] == "M":
        return True
    rest = text[at:].lstrip("+#") if text[at] in "+#" else None
    return rest is not None and not rest[:1].isalnum()


def _is_spaceless(letter: str) -> bool:
    number = ord(letter)
    return number >= 0x0E00 and any(first <= number <= last for first, last in _SPACELESS)


def _is_whole(text: str, words: Sequence[Word], start: int, length: int) -> bool:
    """Return whether words stand by themselves: not as a part of a compound, an address or a file's name."""
    first, last = words[start], words[start + length - 1]
    before, after = text[max(first.start - 1, 0) : first.start], text[last.end : last.end + 1]
    follows = start + length < len(words) and words[start + length].start == last.end + 1
    is_joined = start > 0 and words[start - 1].end == first.start - 1 and bool(before)
    if follows and (after in _JOINTS or after == "."):
        return False
    if follows and after in _APOSTROPHES and words[start + length].folded not in _OWNING:
        return False
    if is_joined and (before in _JOINTS or before == "."):
        return False
    return not (is_joined and before in _APOSTROPHES and words[start - 1].folded not in _ELIDED)


def _is_meant(text: str, words: Sequence[Word], start: int, shown: tuple[str, ...]) -> bool:
    """Return whether words are a name and not common words: then the capitals of the name are there.

    A capital says nothing where a sentence begins, unless `'s` follows, and where all is in capitals.
    """
    here = words[start : start + len(shown)]
    if not all(word.folded in COMMON for word in here):
        return True
    named = [at for at, word in enumerate(shown) if word[0].isupper() and word.lower() not in ARTICLES]
    if not named:
        return len(shown) > 1
    if any(here[at].shown != shown[at] for at in named) or not any(letter.islower() for letter in text):
        return False
    end = start + len(shown)
    owns = end + 1 <= len(words) - 1 and words[end].folded == "s" and text[here[-1].end] in _APOSTROPHES
    is_month = len(shown) == 1 and here[0].folded in MONTHS
    if is_month and start and words[start - 1].folded in BEFORE_MONTHS:
        return False
    if is_month and end < len(words) and words[end].shown[0].isdigit():
        return False
    return owns or any(not _begins(text, words, start + at) for at in named)


def _begins(text: str, words: Sequence[Word], at: int) -> bool:
    """Return whether a word begins a sentence."""
    return at == 0 or any(mark in '.!?:\n"“' for mark in text[words[at - 1].end : words[at].start])


def _longest(found: Sequence[Hit]) -> list[Hit]:
    """Return the hits in their order, those left out that overlap a longer one."""
    kept: list[Hit] = []
    for hit in sorted(found, key=lambda hit: (-hit.length, hit.start)):
        same = (one.start == hit.start and one.length == hit.length for one in kept)
        apart = (hit.start >= one.start + one.length or one.start >= hit.start + hit.length for one in kept)
        if all(is_same or is_apart for is_same, is_apart in zip(same, apart, strict=True)):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)
