"""Facts out of questions and their answers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engramos.cube import MemCube
from engramos.errors import ConfigError
from engramos.parametric._questions import asked_of, named_in
from engramos.parametric.extractors._sentences import is_name, is_person_word, sentences_of
from engramos.parametric.extractors._settled import Found, payload_of, settled, source_of
from engramos.parametric.extractors._values import in_third_person, shape_of
from engramos.parametric.extractors._words import MANY
from engramos.parametric.extractors.base import Extractor
from engramos.parametric.extractors.statements import Statements
from engramos.parametric.facts import Fact, FactSource

_MAX_LENGTH = 300
"""Characters of a question, and of an answer."""
_PAIR = re.compile(
    r"^[ \t>*#-]*(?:Q|Question)\s*[:.)]\s*(?P<q>[^\n]+?\?)\s*[*_ \t]*\n?[ \t>*#-]*(?:A|Answer)\s*[:.)]\s*(?P<a>[^\n]+)",
    re.MULTILINE | re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:(?:(?:oh|well|yeah|yes|hmm|so|sure|thanks)[,!.] )?(?:it's|it is|that's|that is|(?:his|her|its) name is"
    r"|(?:his|her|its) name's|(?:he|she|it)'s called|they're) )?(?:called |in |at |on |from |to |as |for |by )?",
    re.IGNORECASE,
)
_NO_ANSWER = frozenset(
    "thanks yes yeah no nope sure none nothing absolutely okay ok definitely wow hey hi haha".split()
)
_ASKING = re.compile(r"(?:what|where|when|who|which|how)\b", re.IGNORECASE)
_POINTING = re.compile(r"\b(?:you|your|I|my|we|our|it|its|he|his|she|her|they|their|this|that|these|those)\b")
_HOW_LONG = re.compile(r"how long have you been (?P<r>[^?,]+)\?", re.IGNORECASE)
_SO_LONG = re.compile(
    rf"(?:(?:oh|wow|yeah|yes|well|hmm)[,!.] )?(?:for |it's been |(?:i've )?been [a-z]+ing (?:it|[a-z]+) for )?"
    rf"(?P<v>(?:(?:about|over|almost|nearly|around) )?(?:\d+|{MANY}) (?:years|months|decades))"
    r"(?: (?:now|already))?(?:[.!,-].*)?",
    re.IGNORECASE,
)
_NOW_OR_THEN = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|right now|later|lately|recently|this \w+|last \w+|next \w+|feel|feeling"
    r"|think|going|doing|up to|mean|planning|plan)\b|^(?:how (?!old|many|tall)|what's new|why)"
    r"|\b(?:like|love|enjoy|do) about",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Exchanges(Extractor):
    """Takes a question that ends one turn, and a short answer that begins the next turn of the same session.

    The question is about the one who answers, as in `Where do you work?`, or names its subject; what is asked of the
    moment counts not, but for how long somebody has been something. Answers of a model count not either. Texts that
    hold `Q: ...` and `A: ...` give each such pair, where the question names its subject. What a whole statement answers
    otherwise is left out. Both cubes are its sources, the one that answers trusted no more than the one that asks.

    Ours.
    """

    speaker: str = ""
    """The name of who answers in cubes of role `user` that name no speaker; empty: they are left out."""
    max_words: int = 12
    """Words of an answer behind `A:`, at most; 1 or more. In talk only a name, a number or few words count."""
    takes_newest: bool = True
    """Whether the newest of contradicting answers stays; where not, all are given."""

    def __post_init__(self) -> None:
        if self.max_words < 1:
            raise ConfigError(f"max_words is {self.max_words}: give 1 or more")

    def extract(self, cubes: Sequence[MemCube]) -> list[Fact]:
        """Return the facts; see `Extractor.extract`."""
        found: list[Found] = []
        last: dict[str | None, MemCube] = {}
        for cube in cubes:
            if payload_of(cube) is None:
                continue
            found += self._pairs(cube)
            session = cube.header.scope.session
            if session is not None and session in last and (one := self._answered(last[session], cube)):
                found.append(one)
            last[session] = cube
        facts = settled(found, takes_newest=self.takes_newest)
        return _without_contradicted(facts, cubes, self.speaker) if self.takes_newest else facts

    def _pairs(self, cube: MemCube) -> Iterator[Found]:
        """Yield what a text asks and answers itself."""
        payload = payload_of(cube)
        if payload is None or payload.role == "assistant":
            return
        for match in _PAIR.finditer(payload.text):
            question, answer = " ".join(match["q"].split()), match["a"].strip(" *_\t\r").removesuffix(".")
            subject = _subject_of(question)
            is_short = len(question) <= _MAX_LENGTH and len(answer) <= _MAX_LENGTH
            if subject and answer and is_short and len(answer.split()) <= self.max_words:
                relation = _relation(question, subject)
                yield Found(Fact(subject, question, answer, relation=relation, sources=(source_of(cube),)))

    def _answered(self, asking: MemCube, answering: MemCube) -> Found | None:
        """Return what one turn asks and the next answers."""
        asked, answered = payload_of(asking), payload_of(answering)
        if asked is None or answered is None or answered.role == "assistant":
            return None
        name = (answered.speaker or (self.speaker if answered.role == "user" else "")).strip()
        is_next = None in (asked.position, answered.position) or answered.position - asked.position == 1
        if not name or not is_next or (asked.speaker, asked.role) == (answered.speaker, answered.role):
            return None
        question = _last_question(asked.text)
        # without the turn that asks, nobody could tell again what is answered
        sources = (source_of(asking), source_of(answering, asking.header.trust))
        if match := _HOW_LONG.fullmatch(question):
            return _how_long(name, match["r"], next(iter(sentences_of(answered.text)), ""), sources)
        answer = _short_answer(answered.text, {name.lower(), (asked.speaker or "").lower()})
        if not question or not answer or _NOW_OR_THEN.search(question):
            return None
        subject = name
        about = asked_of(question, name)
        if not about and _ASKING.match(question) and not _POINTING.search(question):
            about, subject = question, _subject_of(question) or ""
        if not about or not subject:
            return None
        return Found(Fact(subject, about, answer, relation=_relation(about, subject), sources=sources))


def _without_contradicted(facts: list[Fact], cubes: Sequence[MemCube], speaker: str) -> list[Fact]:
    """Return the facts but those whose question a whole statement answers otherwise: it counts more than few words."""
    if not facts:
        return facts
    stated = {
        (fact.subject.casefold(), fact.question.casefold()): fact.answer.casefold()
        for fact in Statements(speaker=speaker).extract(cubes)
    }
    return [
        fact
        for fact in facts
        if stated.get((fact.subject.casefold(), fact.question.casefold()), fact.answer.casefold())
        == fact.answer.casefold()
    ]


def _how_long(name: str, doing: str, sentence: str, sources: tuple[FactSource, ...]) -> Found | None:
    """Return for how long somebody has done what they were asked about; None where they do not say it at once."""
    match, told = _SO_LONG.fullmatch(sentence), in_third_person(doing)
    if match is None or not told:
        return None
    question, statement = f"How long has {name} been {told}?", f"{name} has been {told} for {match['v']}"
    fact = Fact(name, question, match["v"], statement=statement, relation=f"how long {told}", sources=sources)
    return Found(fact)


def _last_question(text: str) -> str:
    """Return the question that ends a text; empty where another sentence does, or it asks two things at once."""
    sentences = list(sentences_of(text))
    if not sentences or not sentences[-1].endswith("?") or len(sentences[-1]) > 120:
        return ""
    is_double = len(sentences) > 1 and sentences[-2].endswith("?")
    question = re.sub(r"^(?:So|And|But|Well|Oh|Hey|Cool|Wow|Nice)(?:,|!)? ", "", sentences[-1])
    question = re.sub(r"^(What|Where|Who|When|How)'s ", r"\1 is ", question, flags=re.IGNORECASE)
    return "" if is_double else question


def _short_answer(text: str, names: set[str]) -> str | None:
    """Return the answer that a text begins with; None where it is none, or longer than a few words."""
    first = next(iter(sentences_of(text)), "")
    if first.endswith("?") or re.match(r"[\"'“]", first):
        return None
    answer = first[_BEFORE.match(first).end() :].rstrip(".! ") if _BEFORE.match(first) else first
    answer = re.sub(r"^(?:an?|the) (?=[a-z])", "", answer)
    words = answer.lower().split()
    if (
        not words
        or words[0].strip(",!") in _NO_ANSWER
        or answer.lower() in names
        or ("," in answer and not is_name(answer))
    ):
        return None
    return answer if shape_of(answer) else None


def _subject_of(question: str) -> str | None:
    """Return the longest name in a question, not the word that it begins with."""
    found: list[str] = []
    for match in re.finditer(
        r"(?<=\s)[^\W\d_a-z][\w.&'-]*(?: (?:(?:of|the|de|la|von|van) )?[A-Z][\w.&'-]*)*", question
    ):
        name = re.sub(r"(?:'s?)?[?.,]*$", "", match[0])
        if is_person_word(name.split(" ")[0]) and len(name) > 1:
            found.append(name)
    return max(found, key=len, default=None)


def _relation(question: str, subject: str) -> str:
    """Return a question without its subject."""
    match = named_in(subject, question)
    text = f"{question[: match.start()]}*{question[match.end() :]}" if match else question
    return text.rstrip("? ").lower()
