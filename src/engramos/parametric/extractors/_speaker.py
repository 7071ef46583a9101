"""What the user is called, where turns name no speaker and one of them says it."""

import re
from collections.abc import Iterable

from engramos.cube import MemCube
from engramos.parametric.extractors._sentences import is_person_word
from engramos.parametric.extractors._settled import payload_of
from engramos.parametric.extractors._values import is_of_nation
from engramos.parametric.extractors._words import PERSON

_SURE = re.compile(rf"\b[Mm]y (?:full )?name(?: is|'s) (?P<name>{PERSON})(?=[,.!?;]| [a-z]|$)")
_LIKELY = re.compile(
    rf"\bI(?:'m| am) (?P<name>{PERSON})(?=,| and\b|[.!]|$)|\b(?:someone|people|a person) like me, "
    rf"(?P<like>{PERSON})(?=[,.!?])"
)
_NO_NAMES = frozenset(
    """
    catholic christian muslim jewish buddhist hindu atheist protestant orthodox republican democrat english spanish
    french german ok okay sorry sure very so really in on at virgo leo aries taurus gemini cancer libra scorpio pisces
    capricorn aquarius sagittarius latino latina hispanic native black white asian
    """.split()
)


def named_user(cubes: Iterable[MemCube]) -> tuple[str, MemCube] | None:
    """Return the name that the user gives, and the cube that says it; None where there is none, or more than one.

    Args:
        cubes: of one user; only what a user without a speaker's name said counts.
    """
    for pattern in (_SURE, _LIKELY):
        found: dict[str, MemCube] = {}
        for cube in cubes:
            payload = payload_of(cube)
            if payload is None or payload.role != "user" or payload.speaker:
                continue
            for match in pattern.finditer(payload.text[:2_000].replace("’", "'")):
                name = next(one for one in match.groups() if one)
                if is_person_word(name) and name.lower() not in _NO_NAMES and not is_of_nation(name):
                    found.setdefault(name, cube)
        if found:
            longest = max(found, key=len)
            is_one = all(name == longest or name == longest.split(" ")[0] for name in found)
            return (longest, found[longest]) if is_one else None
    return None
