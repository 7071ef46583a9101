"""Sentences of a text, and who or what each is about."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from engramos.parametric.extractors._times import TIME

MAX_TEXT = 200_000
"""Characters of a cube that are read."""
_MAX_SENTENCE = 500
_ME = "§"
"""What stands for the subject in a sentence that is taken apart."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]”]*\s+|\n+")
_ABBREVIATED = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Inc|Ltd|Co|Jr|Sr|vs|No|e\.g|i\.e)|\b[A-Z])\.$")
_IMAGE = re.compile(r"\[image: .*?(?:\]|$)", re.DOTALL)
_LEADING = re.compile(
    r"^(?:(?:oh|ah|well|yeah|yes|yep|yup|ok|okay|so|and|but|also|actually|by the way|btw|anyway|haha|hey|hi|hello"
    r"|thank you|wow|fun fact|no|nope|sure|right|of course|in fact|honestly|personally|currently|now|these days"
    r"|luckily|fortunately|sadly|unfortunately|cool|nice|great|guess what|thanks)(?:[,!:.]+ | - | (?=i\b|my\b)))+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r",? (?:but|so|because|which|where|while|although|though|since(?! [A-Z0-9])|cause|cuz|when|if|unless|until"
    r"|whereas|who)\b.*"
    r"|,? and (?=(?:it|he|she|we|they|you|this|that|there|his|her|our|its|their|the|have|has|had|love|loves|am|is"
    r"|are|was|were|just|now|it's|she's|he's|we're|also|so|then|will|would|can|always|really)\b).*"
    r"|(?:, (?:so |and |but )?| (?:so|and|but) )(?=(?:can|could|what|what's|how|how's|do|does|did|is|are|was|were"
    r"|should|would|will|which"
    r"|have) (?:you|I|it|the"
    r"|this|that|there|a|some|are|is|do|does|should|can|steps|other|else|my|we)\b).*"
    r"| - .*| – .*|—.*|\(.*|;.*",
    re.IGNORECASE,
)
_JOINT = re.compile(
    r"(?:,|;| -| –|—)? (?:(?:and|but|so|since|because|as|although|though|considering(?: that)?|given(?: that)?|plus) )+"
    r"(?=(?:I|I'm|I've|[Mm]y)\b)|[,;] (?=(?:I|I'm|I've|my)\b)|(?: -| –|—) ?(?=(?:I|I'm|I've|[Mm]y)\b)"
)
"""Between clauses of which the second says something of the speaker."""
_OPENING = r"\s*(?:(?:so|and|but|anyway|well|also|oh|yeah|wow)(?:,|!)? )*"
_HALF = re.compile(rf"{_OPENING}{TIME}\s*", re.IGNORECASE)
_HALF_WITH = re.compile(rf"{_OPENING}(?:{TIME},? )?(?:my [a-z]+|[A-Z]\w+)\s*")
"""What is no clause yet: when it was, or with whom, as in `Last week, I`, and in `my sister and I`."""
_SUPPOSED = re.compile(
    r"\b(?:if|unless|whether|imagine|suppose|supposing|pretend|wish|hypothetically|assume|assuming|say that|what"
    r" about)\b",
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"\b(?:sa(?:id|ys?)|ask(?:ed|s)?|told|replied|thought|thinks?|think|claims?|wrote|goes|like)[,:]?(?: \w+)?[,:]?\s*$"
)
_UNSURE = re.compile(r"[ ,]*(?:if|unless|until|whether)\b", re.IGNORECASE)
_PASSING = re.compile(
    r"\b(?:now|currently|also|still|just|actually|really|recently|already|originally|kinda|simply|presently|even|finally"
    r"|basically"
    r"|nowadays|officially|definitely|absolutely) (?=[a-z])"
)
_PASSED = re.compile(r" (?:now|currently|these days|nowadays|at the moment|too|as well|originally)$")
_DOUBT = re.compile(
    r"\b(?:not|never|no longer|used to|gonna|going to|want to|wish|hope|hoping|maybe|perhaps|might|if|wonder|pretend"
    r"|imagine|supposed|joking|kidding|allegedly|rumou?red)\b|n't\b",
    re.IGNORECASE,
)
_NOBODY = frozenset(
    """
    a an the i it he she they we you this that these those there here what which who where when why how everyone
    everybody someone somebody anyone anybody nobody nothing everything something anything each every both all some
    many most few one no not yes my your his her its our their people life love work school home family time today
    tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march april
    june july august september october november december in on at to from for with by of as if so and but or then
    also only just after before during since until while because although though once let please thanks thank sorry
    dear hi hello hey oh wow great good nice cool new old first last next never always sometimes maybe perhaps
    however ask tell call meet see help give show remember does did do can could would should will is are was were has
    have had am think know like thank invite contact given considering mom dad mum dr mr mrs ms prof sir
    two three four five six seven eight nine ten hundred
    """.split()
)
"""First words that name no one."""
_JOINING = frozenset("of the and de la le du von van der den & y al el bin".split())


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence with its subject taken out."""

    subject: str
    spoken: str
    """The subject as it stands within a sentence, `the` before it where it needs that."""
    text: str
    """The sentence with `§` for the subject: `§ works at Acme`, `§'s dog is called Rex`."""
    is_own: bool = False
    """Whether the speaker says it of themselves."""


def sentences_of(text: str) -> Iterator[str]:
    """Yield the sentences of a text with their marks, what an image shows left out."""
    kept = ""
    for part in _SENTENCE_END.split(_IMAGE.sub(" ", text[:MAX_TEXT]).replace("’", "'")):
        kept = f"{kept} {part}".strip() if kept else part.strip()
        if _ABBREVIATED.search(kept) and len(kept) <= _MAX_SENTENCE:
            continue
        if kept:
            yield " ".join(kept.split())
        kept = ""
    if kept:
        yield " ".join(kept.split())


def clauses_of(sentence: str) -> Iterator[str]:
    """Yield the parts of a sentence that say something by themselves: those that begin it, or with `I` or `my`.

    Nothing is yielded that is asked, supposed, quoted, or what somebody else is said to have said.

    Args:
        sentence: as written.
    """
    text = sentence.rstrip()
    if len(text) > _MAX_SENTENCE or text.rstrip("\"')").endswith((":", "…", "...")):
        return
    joints = [(0, 0)]
    for match in _JOINT.finditer(text):
        half = _HALF_WITH if " and " in match[0] else _HALF
        if not half.fullmatch(text, joints[-1][1], match.start()):
            joints.append((match.start(), match.end()))
    joints.append((len(text), len(text)))
    for (_, start), (end, _) in pairwise(joints):
        before, clause = text[:start], text[start:end]
        if before.count('"') % 2 or _SUPPOSED.search(before) or _SAYS.search(before):
            continue
        kept = _CLAUSE.sub("", clause)
        cut = clause[len(kept) :]
        is_asked = text.endswith("?") and end == len(text) and not cut
        if not is_asked and not _UNSURE.match(cut):
            yield kept.rstrip(" ,;")


def said_in(clause: str, speaker: str, others: frozenset[str]) -> Said | None:
    """Return a clause with its subject taken out; None where it is no sure statement about one that it names.

    Args:
        clause: as `clauses_of` gives it.
        speaker: who says `I`; empty where nobody is known to.
        others: those who are spoken to, in lower case: a name at the edge calls them.
    """
    text = _without_calls(_LEADING.sub("", clause.rstrip(".! \"'")).strip(), others)
    text = _LEADING.sub("", text).rstrip(" ,;")
    if _DOUBT.search(text) or re.match(r"[\"'“]", text):
        return None
    own = _own(text, speaker)
    return own if own or re.match(r"(?:I|my)\b", text, re.IGNORECASE) else _named(text)


def is_supposed(text: str) -> bool:
    """Return whether words suppose something, so that what follows may not be so."""
    return _SUPPOSED.search(text) is not None


def plainer(text: str) -> str:
    """Return a sentence without words that say nothing of what it says, as in `§ now works`."""
    return _PASSING.sub("", re.sub(_PASSED, "", text))


def is_name(words: str) -> bool:
    """Return whether some words are all of one name, or of several joined by commas."""
    parts = [word for word in re.split(r"[ ,]+", words) if word]
    shown = [word for word in parts if word not in _JOINING]
    return bool(shown) and parts[-1] not in _JOINING and all(word[0].isupper() or word[0].isdigit() for word in shown)


def is_person_word(word: str) -> bool:
    """Return whether a word may be a name, by its case and because it is none of the words that begin sentences."""
    return word[:1].isupper() and word.lower().split("'")[0] not in _NOBODY


def _own(text: str, speaker: str) -> Said | None:
    """Return what somebody says of themselves; None where the sentence does not, or nobody is known to speak."""
    if not speaker:
        return None
    for said, instead in (("I'm ", "is "), ("I am ", "is "), ("I've ", "has "), ("I have ", "has "), ("I ", "")):
        if text.startswith(said):
            return Said(speaker, speaker, f"{_ME} {instead}{text[len(said) :]}", is_own=True)
    if match := re.match(r"my ", text, re.IGNORECASE):
        return Said(speaker, speaker, f"{_ME}'s {text[match.end() :]}", is_own=True)
    return None


def _named(text: str) -> Said | None:
    """Return a sentence that begins with a name."""
    article = "the " if re.match(r"the [A-Z]", text, re.IGNORECASE) else ""
    words = text[len(article) :].split(" ")
    count = 0
    while count < len(words) and (is_person_word(words[count]) or (count and words[count] in _JOINING)):
        count += 1
        if words[count - 1].endswith(("'s", ",")):
            break
    while count and words[count - 1] in _JOINING:
        count -= 1
    name = " ".join(words[:count])
    if not count or count == len(words) or name.endswith((",", ":", ";")) or (count == 1 and name.endswith("ing")):
        return None
    owner = "'s" if name.endswith("'s") else ""
    name = name.removesuffix("'s")
    return Said(name, f"{article}{name}", f"{_ME}{owner} {' '.join(words[count:])}") if len(name) > 1 else None


def _without_calls(text: str, others: frozenset[str]) -> str:
    """Return a sentence without the names of those whom it calls, as in `Mel, I work at Acme, Mel`."""
    first, comma, rest = text.partition(", ")
    if comma and first.lower() in others:
        text = rest
    before, comma, last = text.rpartition(", ")
    return before if comma and last.lower() in others else text
