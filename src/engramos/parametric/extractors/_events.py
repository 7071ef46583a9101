"""When people did what they tell: events with the day, month or year in which they were."""

import re
from datetime import date

from engramos.parametric.extractors._settled import Found
from engramos.parametric.extractors._times import TIME, preposition, when
from engramos.parametric.extractors._values import in_third_person
from engramos.parametric.extractors._words import KIN, PETS, VERBS, any_of
from engramos.parametric.facts import Fact

_BARE = "|".join(verb.capitalize() for verb in VERBS if verb not in ("read", "quit", "set", "led", "left", "saw"))
_DID = "|".join(VERBS)
_OFTEN = r"(?:just |recently |finally |also |actually |already )*"
_EVENT = re.compile(
    rf"(?:(?P<before>{TIME}),? )?(?:(?:(?:[Mm]y [a-z]+|[A-Z]\w+) and )?(?:I|[Ww]e|§)(?:'ve| have| has)? {_OFTEN}"
    rf"(?P<did>{_DID})"
    rf"|(?:§'s|[Mm]y) (?P<kin>{any_of(KIN)}|{any_of(PETS)})(?: has)? (?P<done>{_DID}|passed)|(?P<bare>{_BARE})) "
    rf"(?P<r>[^,;:()]+?)(?: (?:just |back |only )?(?P<after>{TIME})(?: (?:with|and|during|in|at|near|when|while|as"
    rf"|but|so|because|for|that|where|which|who)\b.*)?)?"
)
_DATED = frozenset(
    "got registered scheduled signed set received applied made enrolled shared sent booked invited"
    " arranged added".split()
)
"""Of which a date behind may be the date of what was got, not of the getting."""
_ATTENDED = frozenset("attended went visited hosted volunteered had met celebrated organized".split())
_OF_OCCASION = re.compile(
    r"\b(?:for|to|about|before|after|regarding|with|of) (?:[\w'-]+ ){0,5}(?:meeting|session|event|party|workshop"
    r"|interview"
    r"|appointment|webinar|dinner|lunch|call|conference|seminar|class|review|deadline|presentation|exam|test|trip)$"
)
"""What else than its doing the date behind it may be of."""
_WHOLE = frozenset("away married engaged promoted divorced".split())
"""What was done that needs no more words."""
_PARTICULAR = re.compile(r"\b(?:an?|the|my|their|first|second|third|fourth|\d+)\b|(?<= )[A-Z]|^[A-Z]")
"""What tells one event from others of its kind."""
_VAGUE = re.compile(
    r"\b(?:to|for|with|of|in|at|on|by|from|about|and|or|the|a|an|like|get|up|out)$|\b(?:last|ago|yesterday)\b"
    r"|\bto (?:assess|see|check|find|help|try|look|make|do|celebrate)$"
)


def event_in(text: str, speaker: str, said: date | None) -> Found | None:
    """Return when a speaker did something, as a fact; None where a clause does not say it, or says it vaguely.

    Ours. Two different times of one event are not learnt: either may have been meant.

    Args:
        text: a clause, as `Last Friday I went to a concert`.
        speaker: who says `I`.
        said: the day on which it was said; None where unknown.
    """
    match = _EVENT.fullmatch(text[:1].upper() + text[1:]) or _EVENT.fullmatch(text[:1].lower() + text[1:])
    if match is None or bool(match["before"]) == bool(match["after"]):
        return None
    words = match["after"] or match["before"][0].lower() + match["before"][1:]
    did = (match["did"] or match["done"] or match["bare"]).lower()
    time, doing = when(words, said), in_third_person(match["r"].removesuffix(" together"))
    is_written = words.startswith(("on ", "in ", "back in "))
    if not time or not doing or _VAGUE.search(doing) or (is_written and _may_be_of_another(did, doing)):
        return None
    if did == "had" and (doing.startswith(("to ", "the chance")) or len(doing.split()) < 4):
        return None
    if did == "did" and not re.match(r"(?:an?|the|my|their) ", doing):
        return None
    if not (doing in _WHOLE or (did == "met" and doing[0].isupper()) or _is_particular(did, doing)):
        return None
    who = f"{speaker}'s {match['kin']}" if match["kin"] else speaker
    verb = VERBS.get(did, "pass")
    fact = Fact(
        speaker,
        f"When did {who} {verb} {doing}?",
        time,
        statement=f"{who} {did} {doing} {preposition(time)}{time}",
        relation=f"when {match['kin'] or ''} {did} {doing}".replace("  ", " "),
    )
    return Found(fact, is_single=False)


def _is_particular(did: str, doing: str) -> bool:
    """Return whether words tell one event from others of its kind."""
    return len(doing.split()) > 1 and (did == "started" or _PARTICULAR.search(doing) is not None)


def _may_be_of_another(did: str, doing: str) -> bool:
    """Return whether a date behind what was done may be the date of something else, as of an exam prepared for."""
    return did in _DATED or (did not in _ATTENDED and _OF_OCCASION.search(doing) is not None)
