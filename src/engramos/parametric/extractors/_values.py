"""What a statement says of its subject: whether it is a name, a number, or a plain word or two."""

import re

from engramos.parametric.extractors._forms import EXACT, NAME, NUMBER, PLAIN, Form
from engramos.parametric.extractors._sentences import is_name

_MAX_NAME = 6
_MAX_PLAIN = 3
_TIME = re.compile(
    r" (?:(?:last|this|next|every) (?:year|month|week|weekend|night|summer|spring|fall|autumn|winter|[A-Z][a-z]+)"
    r"|(?:\d+|an?|two|three|four|five|six|ten|a few|several|many|a couple of|some) (?:year|month|week|day)s? ago"
    r"|for (?:\w+ ){1,3}(?:year|month|week|day|decade)s?(?: now)?|in (?:[A-Z][a-z]+ )?\d{4}|yesterday|today|ago"
    r"|with (?:my|his|her|their|our|the|a|some|me|him|us|them)\b.*|(?:back )?when\b.*|together|recently|again"
    r"|a (?:while|few|couple)\b.*|these days|right now|at the moment|tomorrow|tonight)$"
)
_NO_VALUE = frozenset(
    """
    the this that these those it its he she they we you i me him her them us my your his our their mine yours to for of
    in on at by with from as and or but so if when where what which who how why not no all any some every each both one
    ones thing things something anything everything nothing someone everyone always never ever really very too quite
    pretty definitely probably still just only also even more most much many lot lots bit few great good nice cool fine
    amazing awesome lovely beautiful wonderful fantastic perfect best better bad worse worst hard easy tough fun funny
    happy sad proud glad sorry sure certain important special different same new old big small huge tiny here there now
    then today soon late early up down out over off being getting going doing making having like love loves want need
    has have had is are was were be been am can could would will should may might must do does did done got get because
    about after before during until while than through around between hmm um actually maybe perhaps obviously hers a an
    family life time way day days year years people stuff kind sort type
    """.split()
)
"""Words that no plain value holds."""
_NO_MODIFIER = frozenset("aspiring future former retired great good proud bad wannabe new real such".split())
_NO_NAME = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march june july august september october
    november december christmas easter god gosh jesus absolutely yes no yeah mom dad mum i
    """.split()
)
_MAX_DONE = 10
_POINTING = re.compile(
    r"\b(?:it|its|this|that|these|those|them|they|their|he|him|his|she|her|hers|you|your|we|us|our|I|me|mine|here|there"
    r"|one|ones|some|something|someone|stuff|things?|everything|anything|lots?|bit|few|such|same|other|another|both"
    r"|what|which|who|how|why|where|when|if|not|never)\b|n't\b|[@#`{}\[\]<>=\\]",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"(?:^|\b)(?:my|the|an?|of|for|to|with|in|on|at|and|or|from|by|about|than|due|so|but)$", re.IGNORECASE
)
"""Words after which more must come."""
_NATIONS = frozenset("greek french dutch swiss welsh thai czech".split())
_OF_NATIONS = re.compile(r"[a-z]+(?:ian|ean|ican|ese|ish)$")


def untimed(text: str) -> str:
    """Return a statement without words at its end that say since when, or with whom."""
    shorter = _TIME.sub("", text)
    return shorter if shorter == text else untimed(shorter)


def cleaned(value: str, form: Form, others: frozenset[str]) -> str | None:
    """Return a value as an answer; None where it is none that the form takes.

    Args:
        value: as the statement has it.
        form: whose value it is.
        others: those who are spoken to, in lower case.
    """
    value = value.strip(" \"'“”").rstrip(".,;:!")
    if EXACT in form.shapes:
        return value if value and value.lower() not in others else None
    first, *more = re.split(r", (?!and )", value)
    if not form.is_place or any(part.lower() in others or not is_name(part) for part in more):
        value = first
    bare = re.sub(r"^(?:an?|the) (?=[a-z])", "", value)
    shape = shape_of(bare)
    if shape not in form.shapes or bare.lower() in others or _NO_MODIFIER & set(bare.split()[:-1]):
        return None
    return None if form.relation.startswith("name of") and is_of_nation(bare) else bare


def is_of_nation(word: str) -> bool:
    """Return whether a word says of which nation somebody is, so that it is no name."""
    return word.lower() in _NATIONS or _OF_NATIONS.search(word.lower()) is not None


def in_third_person(words: str) -> str | None:
    """Return what somebody said of their doing, as others say it; None where it points at what it does not name.

    Args:
        words: as `a letter to my sister`.
    """
    if (
        len(words.split()) > _MAX_DONE
        or '"' in words.replace('"', "", 2)
        or _POINTING.search(words)
        or _OPEN.search(words)
    ):
        return None
    return re.sub(r"\bmy\b", "their", words, flags=re.IGNORECASE)


def shape_of(value: str) -> str | None:
    """Return `name`, `number` or `plain`; None for what is none of them, or too long."""
    words = value.split()
    if not words or len(words) > _MAX_NAME or '"' in value or value.endswith("'s"):
        return None
    if re.fullmatch(r"[\d.,:/%$€£+-]*\d[\d.,:/%$€£+-]*(?:st|nd|rd|th)?", words[0]) and len(words) <= 3:
        return NUMBER
    if is_name(value):
        return None if words[0].lower() in _NO_NAME and len(words) == 1 else NAME
    is_plain = len(words) <= _MAX_PLAIN and all(re.fullmatch(r"[a-zà-ÿ]+(?:[-'][a-zà-ÿ]+)*", word) for word in words)
    return PLAIN if is_plain and not _NO_VALUE & set(words) and not value.endswith("ly") else None
