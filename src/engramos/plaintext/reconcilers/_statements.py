"""Short statements taken apart: a frame of words around one value, as in `Ana works at` + `Acme`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engramos.plaintext.terms import STOP_WORDS

MAX_WORDS = 25
MAX_VALUE = 5
OWN = frozenset(("i", "i'm", "my", "we", "our"))
"""First words of what somebody says of themselves."""
SUBJECT = "*"
"""What stands in a frame for the names of its subject."""

_TOKEN = re.compile(r"[^\W_]+(?:['’.&/:+-]+[^\W_]+)*|[,;?!.]")
_ABBREVIATED = 4
"""A word of so many letters before a full stop may be an abbreviation, such as Inc. or St."""
_PASSING = frozenset("now currently today nowadays presently again already also still just really actually".split())
_DOUBTING = frozenset(
    """
    not never no nobody nothing if whether maybe perhaps might may could would should hope hopes want wants wish plan
    plans think thinks thought guess supposedly almost nearly formerly previously until unless or but
    """.split()
)
_POINTING = frozenset("it he she they this that these those there here you".split())
"""First words whose subject stands in another text."""
_SMALL = STOP_WORDS | frozenset("what which where who whose when how de la le von van der den und et y al el".split())
_ARTICLES = frozenset("a an the".split())
_TITLES = frozenset(("I", "CEO", "CTO", "CFO"))
"""Words in capitals that name nobody."""
_JOINING = frozenset("of the and de la le du von van & ,".split())
"""Small words that stand within a name."""
_BREAKS = frozenset(
    """
    is are was were be been am has have had do does did will who that which whose when where because ? in at on
    """.split()
)
"""Words that no value holds: where one stands, the frame goes on."""
_TAILS = (("years", "old"),)
"""Words that may follow a value."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A statement as words before a value, the value, and words after it."""

    before: tuple[str, ...]
    """As written; the first word in lower case where it is a small word."""
    value: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def shape(self) -> str:
        """`number`, `name` or `plain`: values of one slot are of one shape."""
        if any(letter.isdigit() for letter in self.value[-1]):
            return "number"
        return "name" if any(word[0].isupper() for word in self.value) else "plain"

    @property
    def bare(self) -> tuple[str, ...]:
        """The value in lower case, without articles."""
        return tuple(low for word in self.value if (low := word.lower()) not in _ARTICLES and low != ",")


def tokens_of(text: str) -> tuple[str, ...] | None:
    """Return the words and marks of a text that is one short, sure statement, or a question with its short answer.

    None for any other text: what says more than one thing must not vanish because one of them changed.
    """
    if len(text) > MAX_WORDS * 12 or "\n" in text.strip():
        return None
    found = _TOKEN.findall(text.strip())
    while found and found[-1] == ".":
        found.pop()
    if not 3 <= len(found) <= MAX_WORDS or found[-1] in "?!" or not _is_one(found):
        return None
    if found[0].lower().replace("’", "'").removesuffix("'s") in _POINTING:
        return None
    kept = [word for word in found if word != "." and word.lower() not in _PASSING]
    if any(word.lower() in _DOUBTING or word.lower().replace("’", "'").endswith("n't") for word in kept):
        return None
    if kept and kept[0].lower() in _SMALL:
        kept[0] = kept[0].lower()
    return tuple(kept) if len(kept) >= 3 else None


def _is_one(found: list[str]) -> bool:
    """Return whether the words are one sentence, abbreviations and one leading question allowed."""
    if "!" in found or ";" in found or found.count("?") > 1:
        return False
    return all(
        len(found[at - 1]) <= _ABBREVIATED and found[at - 1][0].isupper()
        for at, word in enumerate(found)
        if word == "." and at
    )


def cuts(tokens: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield the ways to see a statement as a frame with a value at its end: where the value starts and ends."""
    end = len(tokens) - 2 if tokens[-2:] in _TAILS else len(tokens)
    for start in range(end - 1, max(1, end - MAX_VALUE - 1), -1):
        if tokens[start].lower() in _BREAKS:
            return
        if start == 2 and tokens[0] == "the":
            return  # still within the subject
        is_within_name = tokens[start - 1][0].isupper() and tokens[start][0].isupper()
        if not is_within_name and tokens[start] != "," and _is_even(tokens[start:end]):
            yield start, end


def _is_even(value: tuple[str, ...]) -> bool:
    """Return whether all of a value is a name, or nothing of it is."""
    named = [word[0].isupper() for word in value if word.lower() not in _JOINING and not word[0].isdigit()]
    return all(named) or not any(named)


def could_share(tokens: tuple[str, ...]) -> bool:
    """Return whether a statement names a subject: a name, or the speaker."""
    return tokens[0].lower().replace("’", "'") in OWN or any(map(_is_name, tokens))


def frame_of(cut: Cut) -> str | None:
    """Return a cut's frame: its words in lower case with the names replaced; None where it has no subject.

    What somebody says of themselves has its own frames, with nothing replaced.
    """
    is_name = [_is_name(word) for word in cut.before]
    if not any(is_name):
        low = [word.lower().replace("’", "'") for word in cut.before]
        return " ".join((*low, "_", *cut.after)) if low[0] in OWN else None
    first, last = is_name.index(True), len(is_name) - 1 - is_name[::-1].index(True)
    is_one = all(named or word.lower() in _SMALL or word == "," for word, named in _pairs(cut, is_name, first, last))
    out: list[str] = []
    for at, word in enumerate(cut.before):
        if not is_name[at] and not (is_one and first <= at <= last):
            out.append(word.lower())
        elif not out or out[-1] != SUBJECT:
            out.append(SUBJECT)
        if is_name[at] and word.replace("’", "'").endswith("'s") and (at == last or not is_one):
            out.append("'s")
    return " ".join((*out, "_", *cut.after))


def _pairs(cut: Cut, is_name: list[bool], first: int, last: int) -> Iterator[tuple[str, bool]]:
    return zip(cut.before[first:last], is_name[first:last], strict=True)


def _is_name(word: str) -> bool:
    has_sign = any(letter.isupper() or letter.isdigit() for letter in word)
    return has_sign and word not in _TITLES and not word.startswith(("I'", "I’"))
