"""Mention links: from a cube that mentions a name to the cubes that are about it, or mention it too."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engramos.cube import MemCube, PlaintextPayload
from engramos.errors import ConfigError
from engramos.plaintext.reconcilers.base import Link, Reconciled, Reconciler, Revise, Verdict, in_order
from engramos.plaintext.terms import STOP_WORDS

_RUN = re.compile(r"(?<![^\W_])[^\W\d_a-z][\w'’&-]*(?:(?: of| the| de| la| von| van)* [^\W\d_a-z][\w'’&-]*)*")
_LOWER = re.compile(r"(?<![^\W_])[^\W\d_A-Z]+(?![^\W_])")
_LEADING = re.compile(r"(?:^|[.!?:]\s+|[\n\"“(])\Z")


@dataclass(frozen=True, slots=True)
class MentionLinks(Reconciler):
    """Links by shared names, computed and not stored; it changes no cube.

    A name is a run of capitalised words; a single one at the start of a sentence counts only where no cube has it in
    lower case. A cube is about the names of its title. A name that stands in many cubes links nothing: it says who is
    talking, not what about.

    Source: ours, decision 0010; the weight is the inverse document frequency of Spärck Jones, 1972.
    """

    num_links: int = 8
    """Links from one cube at most, 1 or more."""
    most_cubes: int = 50
    """A name in more cubes than this links nothing, 2 or more."""

    def __post_init__(self) -> None:
        if self.num_links < 1:
            raise ConfigError(f"num_links is {self.num_links}: give 1 or more")
        if self.most_cubes < 2:
            raise ConfigError(f"most_cubes is {self.most_cubes}: give 2 or more")

    def judge(self, cubes: Sequence[MemCube]) -> list[Verdict]:
        """Return nothing: a link supersedes no cube."""
        return []

    def reconcile(self, cubes: Sequence[MemCube], at: datetime, revise: Revise) -> Reconciled:
        """Return the links between the cubes, of each cube the heaviest first."""
        valid = in_order(cubes, at)
        common = {word for cube in valid for word in _LOWER.findall(cube.text)}
        mentions = [_names(cube, common) for cube in valid]
        holders: dict[str, list[int]] = defaultdict(list)
        for place, names in enumerate(mentions):
            for name in names:
                holders[name].append(place)
        weights = {
            name: math.log(1 + len(valid) / len(places))
            for name, places in holders.items()
            if 2 <= len(places) <= self.most_cubes
        }
        links: list[Link] = []
        for place, names in enumerate(mentions):
            totals: dict[int, float] = defaultdict(float)
            for name in sorted(names & weights.keys()):
                for other in holders[name]:
                    is_about = name in _title(valid[other])
                    totals[other] += weights[name] * (2.0 if is_about else 1.0)
            totals.pop(place, None)
            best = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[: self.num_links]
            links += [Link(valid[place].id, valid[other].id, weight) for other, weight in best]
        return Reconciled(links=tuple(links))


def _title(cube: MemCube) -> str:
    assert isinstance(cube.payload, PlaintextPayload)
    return (cube.payload.title or "").lower()


def _names(cube: MemCube, common: set[str]) -> set[str]:
    """Return the names that a cube mentions or is about, in lower case."""
    found = {title} if (title := _title(cube)) else set()
    for match in _RUN.finditer(cube.text):
        words = match[0].replace("’", "'").removesuffix("'s").split()
        leads = _LEADING.search(cube.text, max(0, match.start() - 3), match.start()) is not None
        if leads and (words[0].lower() in common or words[0].lower() in STOP_WORDS):
            words = words[1:]
        name = " ".join(words).lower().strip("'")
        if len(name) > 1 and name not in STOP_WORDS and not name.startswith("i'"):
            found.add(name)
    return found
