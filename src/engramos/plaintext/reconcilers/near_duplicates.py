"""Near duplicates: the same thing said again by the same speaker, in the same words or all but the same."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engramos.cube import MemCube, PlaintextPayload
from engramos.errors import ConfigError
from engramos.plaintext.reconcilers.base import Reconciler, Verdict, time_of
from engramos.plaintext.terms import term_of

_WORD = re.compile(r"[^\W_]+(?:['’.,:/-][^\W_]+)*")
_TELLING = frozenset(
    """
    no not never none nothing nobody neither nor without cannot hardly barely unless except only before after until
    zero one two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty sixty seventy
    eighty ninety hundred thousand million billion half twice once first second third fourth fifth last next
    january february march april may june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday
    """.split()
)
"""Words that make another statement of the same words: negations, numbers, dates."""
_RELATIVE = frozenset(
    """
    today tonight tomorrow yesterday now just currently recently lately ago morning afternoon evening night noon
    week weekend month year day days weeks months years hour hours minutes soon later earlier last next
    """.split()
)
"""Words whose meaning depends on the day on which they are said."""


@dataclass(frozen=True, slots=True)
class _Text:
    at: int
    """Its place in the order of time."""
    words: tuple[str, ...]
    shingles: frozenset[tuple[str, ...]]
    content: frozenset[int]
    is_relative: bool


@dataclass(frozen=True, slots=True)
class NearDuplicates(Reconciler):
    """The later of two duplicates supersedes the earlier, so that nothing that was said is lost.

    Duplicates are of one speaker, type, agent and labels, hold the same numbers, negations, dates and names, and share
    nearly all runs of words; every content word of the earlier stands in the later. Words such as "today" make
    duplicates of one day only. Short remarks ("thanks a lot!") are left alone: they belong to their place.

    Source: prefix filter of all-pairs similarity search, Bayardo, Ma and Srikant, WWW 2007; the guards are ours,
    decision 0010.
    """

    similarity: float = 0.9
    """Jaccard similarity of the word shingles, in (0, 1]; 1 asks for the same words."""
    num_words: int = 3
    """Words in a shingle, 1 or more."""
    num_content: int = 3
    """Different content words that a text must have at least, 1 or more."""

    def __post_init__(self) -> None:
        if not 0.0 < self.similarity <= 1.0:
            raise ConfigError(f"similarity is {self.similarity}: give a number above 0, at most 1")
        for name in ("num_words", "num_content"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")

    def judge(self, cubes: Sequence[MemCube]) -> list[Verdict]:
        """Return the earlier duplicates, each superseded by its latest duplicate."""
        groups: dict[object, list[_Text]] = defaultdict(list)
        for at, cube in enumerate(cubes):
            words = _WORD.findall(unicodedata.normalize("NFKC", cube.text).replace("’", "'"))
            text = self._text(at, tuple(word.lower() for word in words))
            if len(text.content) >= self.num_content:
                groups[_alike(cube, words, text)].append(text)
        best: dict[int, tuple[int, float]] = {}
        for texts in groups.values():
            if len(texts) < 2:
                continue
            for earlier, later, share in self._pairs(texts):
                if earlier.at not in best or later.at > best[earlier.at][0]:
                    best[earlier.at] = (later.at, share)
        return [
            Verdict(cubes[at].id, cubes[by].id, f"said again: {share:.0%} of the word runs are the same")
            for at, (by, share) in sorted(best.items())
        ]

    def _text(self, at: int, words: tuple[str, ...]) -> _Text:
        size = min(self.num_words, len(words)) or 1
        shingles = frozenset(words[place : place + size] for place in range(len(words) - size + 1))
        content = frozenset(term for word in words if (term := term_of(word)) is not None)
        return _Text(at, words, shingles, content, not _RELATIVE.isdisjoint(words))

    def _pairs(self, texts: Sequence[_Text]) -> Iterator[tuple[_Text, _Text, float]]:
        """Yield earlier, later and similarity of duplicates; of texts with the same words only the nearest pairs."""
        latest: dict[tuple[str, ...], _Text] = {}
        for text in texts:
            if (before := latest.get(text.words)) is not None:
                yield before, text, 1.0
            latest[text.words] = text
        different = sorted(latest.values(), key=lambda text: text.at)
        if self.similarity == 1.0 or len(different) < 2:
            return
        for first, second in self._candidates(different):
            shared = len(first.shingles & second.shingles)
            share = shared / (len(first.shingles) + len(second.shingles) - shared)
            if share >= self.similarity and first.content <= second.content:
                yield first, second, share

    def _candidates(self, texts: Sequence[_Text]) -> Iterator[tuple[_Text, _Text]]:
        """Yield pairs, earlier first, that share one of their rarest shingles: all others are less similar."""
        counts: dict[tuple[str, ...], int] = defaultdict(int)
        for text in texts:
            for shingle in text.shingles:
                counts[shingle] += 1
        seen: dict[tuple[str, ...], list[_Text]] = defaultdict(list)
        for text in texts:
            size = len(text.shingles)
            rarest = sorted(text.shingles, key=lambda shingle: (counts[shingle], shingle))
            met: set[int] = set()
            for shingle in rarest[: size - int(-(-size * self.similarity // 1)) + 1]:
                for other in seen[shingle]:
                    fits = self.similarity <= size / len(other.shingles) <= 1 / self.similarity
                    if fits and other.at not in met:
                        met.add(other.at)
                        yield other, text
                seen[shingle].append(text)


def _alike(cube: MemCube, words: Sequence[str], text: _Text) -> object:
    """Return what duplicates must have in common, as one value to group by."""
    header, payload = cube.header, cube.payload
    telling = sorted(word for word in text.words if _tells(word))
    # the first word of a sentence has a capital whether it is a name or not, so names are compared without case
    names = frozenset(word.lower() for word in words[1:] if word[0].isupper() and term_of(word.lower()) is not None)
    day = time_of(cube).date() if text.is_relative else None
    assert isinstance(payload, PlaintextPayload)
    who = (header.scope.agent, payload.speaker, payload.role, header.type, header.grants, frozenset(header.labels))
    return (*who, payload.title, tuple(telling), names, day, cube.text.rstrip().endswith("?"))


def _tells(word: str) -> bool:
    return word in _TELLING or word.endswith("n't") or any(letter.isdigit() for letter in word)
