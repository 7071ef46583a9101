"""Slot conflicts: two statements that say the same of the same subject, with another value."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engramos.cube import MemCube, PlaintextPayload
from engramos.errors import ConfigError
from engramos.plaintext.reconcilers._statements import SUBJECT, Cut, could_share, cuts, frame_of, tokens_of
from engramos.plaintext.reconcilers.base import Reconciler, Verdict

_LOWER = re.compile(r"(?<![^\W_])[a-z]+(?![^\W_])")
_NOUNS = (
    "name surname nickname age birthday birthplace birthdate address email number password occupation profession job "
    "position title role employer boss wife husband spouse fiancé fiancée nationality citizenship religion hometown "
    "residence capital headquarters currency population owner director president mayor ceo chairman height weight size "
    "status salary budget deadline price version timezone"
).split()
_VERBS = (
    r"lives? (?:in|at|on)|resides? in|works? (?:at|for|as|in)|(?:is|am|i'm|are) (?:employed (?:by|at)|married to|"
    r"engaged to|based in|located (?:in|at)|headquartered in|called|named|named after|owned by|"
    r"affiliated with|a citizen of)|belongs to|(?:was |were )?born (?:in|on)|died (?:in|at|on)|"
    r"was founded (?:in|by)|stud(?:y|ies) at"
)
_OF = r"(?: [a-z']+){0,2}"
_SUBJECT = r"(?:\*(?: 's)?(?: [a-z]+){0,2}(?: , (?:who|which))?|i|we|my [a-z]+)"
_NOUN = rf"(?:{'|'.join(_NOUNS)})"
_LISTED = re.compile(
    rf"(?:{_SUBJECT} (?:{_VERBS}) _"
    rf"|i'm (?:employed (?:by|at)|married to|engaged to|based in|called|a citizen of) _"
    rf"|(?:my|our|\* 's){_OF} {_NOUN}(?: city)?(?: of \*)? is(?: at)? _"
    rf"|(?:my|our|\* 's) favou?rite(?: [a-z]+){{1,2}} is _"
    rf"|the {_NOUN}(?: city)? of (?:\*|my [a-z]+) is _"
    r"|(?:\* is|i am|i'm) _ years old)"
)
"""Frames whose slot holds one value at a time, in everyday English."""
_SEVERAL = re.compile(
    r"\b(?:likes?|loves?|enjoys?|hates?|prefers?|wants?|needs?|has|have|had|owns|bought|sold|got|gave|met|meets|knows?|"
    r"saw|sees|visit(?:s|ed)|went|goes|travel(?:s|led|ed)|read|reads|watch(?:es|ed)|wrote|made|said|says|told|tells|"
    r"ate|eats|cooked|tried|learn(?:s|ed)|can|attend(?:s|ed)|finished|started|one of|another|twin|friends?|hobby)\b"
    r"(?! (?:a |the )?(?:citizenship|nationality|title|position|status)\b)"
)
"""Words of frames whose slot holds many values, or of events that happen more than once."""
_PERSONAL = re.compile(
    r"(?<![\w'])(?:i(?:'\w+)?|you(?:'\w+|r)?|we(?:'\w+)?|us|me|my|our|it(?:'s)?|this|that's|so)(?![\w'])"
)
"""Words of a talk rather than of a list of facts: nothing is learned from frames with them."""


@dataclass(frozen=True, slots=True)
class SlotConflicts(Reconciler):
    """Of two statements with one frame and two values, the later supersedes the earlier.

    Both are whole cubes, one short statement each, of one speaker, role, type and agent. The slot must be known to hold
    one value: by a list of everyday relations (lives in, works at, X's capital is), or because the memory itself shows
    it: the same frame stands with other subjects, and next to none has more values than a correction explains. A frame
    that is too rare to tell goes with the others where the memory holds many frames and next to all are of one value,
    as in a list of facts. Nothing is learned of frames with "I", nor of likes, possessions and visits.

    Source: ours, decision 0010; that a relation's functionality can be read off its pairs is from Suchanek, Abiteboul
    and Senellart, PARIS, VLDB 2012.
    """

    num_subjects: int = 3
    """Subjects that a frame must have before the memory's own evidence counts, 2 or more."""
    num_frames: int = 10
    """Frames of one value that a memory must show before rare frames go with them, 1 or more."""
    most_crowded: float = 0.1
    """Share of subjects that may have three values or more, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.num_subjects < 2:
            raise ConfigError(f"num_subjects is {self.num_subjects}: give 2 or more")
        if self.num_frames < 1:
            raise ConfigError(f"num_frames is {self.num_frames}: give 1 or more")
        if not 0.0 <= self.most_crowded <= 1.0:
            raise ConfigError(f"most_crowded is {self.most_crowded}: give a number from 0 to 1")

    def judge(self, cubes: Sequence[MemCube]) -> list[Verdict]:
        """Return the statements that a later one contradicts, each superseded by the first that does."""
        said = _said(cubes)
        slots = _slots(said, _seen_twice(said))
        frames = {frame for held in slots.values() if _differ(held) and (frame := frame_of(held[0][1])) is not None}
        evidence = self._evidence(_numbers_of_values(said, frames))
        best: dict[int, tuple[int, int, str]] = {}
        for held in slots.values():
            if not _differ(held) or (reason := self._reason(frame_of(held[0][1]), evidence)) is None:
                continue
            size = len(held[0][1].before)
            for at, by in _contradicted(held):
                # the longest common frame leaves the value alone
                if at not in best or (-size, by) < (-best[at][1], best[at][0]):
                    best[at] = (by, size, reason)
        return [Verdict(cubes[at].id, cubes[by].id, reason) for at, (by, _, reason) in sorted(best.items())]

    def _evidence(self, numbers: Mapping[str, Sequence[int]]) -> "_Evidence":
        """Return what the memory itself shows of frames, from the numbers of values of each one's subjects."""
        attested = {frame: of for frame, of in numbers.items() if len(of) >= self.num_subjects and _is_open(frame)}
        single = {
            frame: len(of) for frame, of in attested.items() if sum(n > 2 for n in of) <= self.most_crowded * len(of)
        }
        num_odd = len(attested) - len(single)
        are_all = len(single) >= self.num_frames and num_odd <= self.most_crowded / 2 * len(attested)
        return _Evidence(single, frozenset(attested), len(single) if are_all else 0)

    def _reason(self, frame: str | None, evidence: "_Evidence") -> str | None:
        """Return why a frame's slot holds one value; None where nothing says so."""
        if frame is None:
            return None
        if _LISTED.fullmatch(frame):
            return "another value later, in a relation that has one at a time"
        if not _is_open(frame):
            return None
        if frame in evidence.single:
            return f"another value later; {evidence.single[frame]} subjects of this relation show one value each"
        if evidence.num_around and frame not in evidence.attested:
            return f"another value later; {evidence.num_around} relations of this memory show one value each"
        return None


@dataclass(frozen=True, slots=True)
class _Evidence:
    single: Mapping[str, int]
    """Frames whose subjects have one value, or two where one was corrected -> number of subjects."""
    attested: frozenset[str]
    """Frames with enough subjects to tell."""
    num_around: int
    """How many frames of this memory are of one value, where next to all are; else 0."""


def _is_open(frame: str) -> bool:
    """Return whether a frame is one that evidence may decide: about a named subject, and not known to hold several."""
    if SUBJECT not in frame.split() or f"{SUBJECT} _" in frame or ", _" in frame:
        return False
    return _SEVERAL.search(frame) is None and _PERSONAL.search(frame.replace("? it is ", "? ")) is None


Said = list[tuple[int, object, tuple[str, ...]]]
"""Place of a cube, what its slots belong to, and its words."""
Held = list[tuple[int, Cut]]
"""Statements about one slot, oldest first."""


def _said(cubes: Sequence[MemCube]) -> Said:
    """Return the cubes that are short statements with a subject."""
    said: Said = []
    common = {word for cube in cubes for word in _LOWER.findall(cube.text)}
    for at, cube in enumerate(cubes):
        tokens = tokens_of(cube.text)
        if tokens is None:
            continue
        if tokens[0].lower() in common and not tokens[1][0].isupper():
            # it has its capital from the place it stands at, not because it is a name
            tokens = (tokens[0].lower(), *tokens[1:])
        if not could_share(tokens):
            continue
        payload = cube.payload
        assert isinstance(payload, PlaintextPayload)
        said.append((at, (cube.header.scope.agent, payload.speaker, payload.role, cube.header.type), tokens))
    return said


def _keys(who: object, tokens: tuple[str, ...]) -> Iterator[tuple[object, int, int]]:
    """Yield what statements about the same slot share, and where the value stands."""
    low = tuple(word.lower() for word in tokens)
    for start, end in cuts(tokens):
        yield (who, low[:start], low[end:]), start, end


def _seen_twice(said: Said) -> set[int]:
    """Return hashes of the keys that more than one statement has: most have none, and need no more looking at."""
    once: set[int] = set()
    twice: set[int] = set()
    for _, who, tokens in said:
        for key, _, _ in _keys(who, tokens):
            value = hash(key)
            (twice if value in once else once).add(value)
    return twice


def _slots(said: Said, twice: set[int]) -> dict[object, Held]:
    slots: dict[object, Held] = defaultdict(list)
    for at, who, tokens in said:
        for key, start, end in _keys(who, tokens):
            if hash(key) in twice:
                slots[key].append((at, Cut(tokens[:start], tokens[start:end], tokens[end:])))
    return slots


def _differ(held: Held) -> bool:
    return len(held) > 1 and any(cut.bare != held[0][1].bare for _, cut in held[1:])


def _numbers_of_values(said: Said, frames: set[str]) -> dict[str, list[int]]:
    """Return, by frame, how many different values each of its subjects has."""
    last = {frame.split(" _")[0].rsplit(" ", 1)[-1] for frame in frames} - {SUBJECT, "'s"}
    values: dict[str, dict[object, set[tuple[str, ...]]]] = defaultdict(lambda: defaultdict(set))
    for _, who, tokens in said:
        for key, start, end in _keys(who, tokens):
            if tokens[start - 1].lower() not in last:
                continue
            cut = Cut(tokens[:start], tokens[start:end], tokens[end:])
            if (frame := frame_of(cut)) in frames and frame is not None:
                values[frame][key].add(cut.bare)
    return {frame: [len(one) for one in subjects.values()] for frame, subjects in values.items()}


def _contradicted(held: Held) -> list[tuple[int, int]]:
    """Return pairs of a cube and the first later one whose value contradicts it."""
    found = []
    for place, (at, cut) in enumerate(held):
        for by, other in held[place + 1 :]:
            if _contradict(cut, other):
                found.append((at, by))
                break
    return found


def _contradict(cut: Cut, other: Cut) -> bool:
    """Return whether two values exclude each other; a part of a value only says it less exactly."""
    ours, theirs = set(cut.bare), set(other.bare)
    return bool(ours and theirs) and cut.shape == other.shape and not (ours <= theirs or theirs <= ours)
