"""Facts out of short sure statements."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engramos.cube import MemCube
from engramos.errors import InvalidInputError
from engramos.parametric.extractors._forms import (
    DONE,
    ECHO,
    FORMS,
    KIN_AND_PETS,
    MADE,
    NAME,
    NUMBER,
    OF,
    PERSONS,
    PETS,
    Form,
)
from engramos.parametric.extractors._sentences import Said, is_name, is_person_word, plainer, said_in, sentences_of
from engramos.parametric.extractors._settled import Found, payload_of, settled, source_of
from engramos.parametric.extractors._values import cleaned, shape_of, untimed
from engramos.parametric.extractors.base import Extractor
from engramos.parametric.facts import Fact, FactSource

READY = "fact"
"""The key of an attribute that holds a ready fact."""
_TEXTS = ("question", "answer", "subject", "statement", "relation")
_LISTS = ("paraphrases", "held_out", "aliases")


@dataclass(frozen=True, slots=True)
class Statements(Extractor):
    """Takes sentences that say one thing about the speaker or about a subject that they begin with.

    A sentence counts where it has one of some forty forms, as `I work at Acme` or `The capital of France is Paris`;
    then the question is natural. With `takes_any_form`, another sentence about a named subject that ends with a name or
    a number counts too, where no speaker is known (people say too much that only looks like it), and its question asks
    to complete it. Questions, doubts, denials and plans count never, nor does what a model said. A cube whose attribute
    `fact` holds `question`, `answer` and `subject` gives this fact, and its text nothing.

    Ours: forms rather than a model, for precision at no cost.
    """

    speaker: str = ""
    """Who says `I` in cubes of role `user` that name no speaker; empty: these sentences are left out."""
    takes_any_form: bool = True
    """Whether statements about named subjects need none of the known forms."""
    takes_newest: bool = True
    """Whether the newest of contradicting answers stays; where not, all are given."""

    def extract(self, cubes: Sequence[MemCube]) -> list[Fact]:
        """Return the facts; see `Extractor.extract`.

        Raises:
            InvalidInputError: if an attribute `fact` is none.
        """
        speakers = {(payload.speaker or "").strip() for cube in cubes if (payload := payload_of(cube))} - {""}
        called = frozenset(name.lower() for speaker in speakers for name in (speaker, speaker.split()[0]))
        found = [one for cube in cubes for one in self._found_in(cube, called)]
        return _with_short_names(settled(found, takes_newest=self.takes_newest), speakers)

    def _found_in(self, cube: MemCube, called: frozenset[str]) -> Iterator[Found]:
        payload = payload_of(cube)
        if payload is None:
            return
        source = source_of(cube)
        if READY in payload.attributes:
            yield Found(_ready(payload.attributes[READY], cube.id, source))
            return
        if payload.role == "assistant":
            return
        speaker = (payload.speaker or (self.speaker if payload.role == "user" else "")).strip()
        others = called - {speaker.lower(), speaker.split(" ")[0].lower()}
        for sentence in sentences_of(payload.text):
            yield from _kin_and_pets(sentence, speaker, others, source)
            if one := self._of_sentence(sentence, speaker, others):
                yield replace(one, fact=replace(one.fact, sources=(source,)))

    def _of_sentence(self, sentence: str, speaker: str, others: frozenset[str]) -> Found | None:
        said = said_in(sentence, speaker, others)
        if said is None:
            return _of_another(sentence, others)
        if not said.is_own and (made := _made(said)):
            return made
        forms = [form for form in FORMS if form.of in ("all", "own" if said.is_own else "named")]
        for text in dict.fromkeys((untimed(plainer(said.text)), plainer(said.text), said.text)):
            for form in forms:
                match = form.expression.fullmatch(text)
                if match and (value := cleaned(match["v"], form, others)):
                    return _of_form(form, said, match, value)
        return _echo(said) if self.takes_any_form and not speaker else None


def _of_form(form: Form, said: Said, match: re.Match[str], value: str) -> Found:
    """Return the fact of a form that fits."""
    words = {**{key: found or "" for key, found in match.groupdict().items()}, "s": said.spoken, "v": value}
    question = form.question.format(**words)
    if words.get("n", "").split(" ")[-1] in PERSONS:
        question = re.sub("^What is", "Who is", question)
    return Found(
        Fact(
            said.subject,
            _capital(question),
            value,
            paraphrases=tuple(_capital(one.format(**words)) for one in form.paraphrases),
            statement=_capital(form.statement.format(**words)),
            relation=form.relation.format(**words),
        ),
        form.is_single,
    )


def _of_another(sentence: str, others: frozenset[str]) -> Found | None:
    """Return what a sentence says of a subject that comes later in it, as in `The capital of France is Paris`."""
    match = OF.expression.fullmatch(sentence.rstrip(".!"))
    if match is None or not is_name(match["s"]) or not (value := cleaned(match["v"], OF, others)):
        return None
    name = match["s"].removeprefix("the ")
    return _of_form(OF, Said(name, match["s"], ""), match, value)


def _made(said: Said) -> Found | None:
    """Return who made a thing, where a sentence says what somebody made."""
    match = MADE.fullmatch(said.text)
    work = untimed(match["v"]).strip("\"'“”") if match else ""
    if match is None or shape_of(work) != NAME:
        return None
    did, name = match["did"], re.sub("^[Tt]he ", "", work)
    done = DONE.get(did, did)
    fact = Fact(
        name,
        f"Who {did} {work}?",
        said.subject,
        paraphrases=(f"By whom was {work} {done}?",),
        statement=f"{_capital(work)} was {done} by {said.subject}",
        relation=f"who {did}",
    )
    return Found(fact)


def _echo(said: Said) -> Found | None:
    """Return a statement of no known form as a sentence to complete."""
    match = ECHO.fullmatch(untimed(plainer(said.text)))
    value = match["v"].strip("\"'“”,;") if match else ""
    if match is None or "," in value or shape_of(value) not in (NAME, NUMBER):
        return None
    frame = _capital(match["frame"].replace("§", said.spoken))
    fact = Fact(
        said.subject,
        f"Complete the sentence: {frame}",
        value,
        paraphrases=(f"Finish this: {frame} ...", f"{frame} what?", f"What comes next? {frame}"),
        statement=f"{frame} {value}",
        relation=match["frame"].replace("§", "*"),
    )
    return Found(fact, is_single=False)


def _kin_and_pets(sentence: str, speaker: str, others: frozenset[str], source: FactSource) -> Iterator[Found]:
    """Yield the names that stand beside what they are to the speaker: `my dog Rex`."""
    if not speaker or '"' in sentence:
        return
    for match in KIN_AND_PETS.finditer(sentence):
        noun, name = match["n"], match["v"]
        if name.lower() in others or not is_person_word(name) or shape_of(name) != NAME:
            continue
        asked = (f"What is {speaker}'s {noun} called?", f"What is the name of {speaker}'s {noun}?")
        question, other = asked if noun in PETS else reversed(asked)
        statement = f"{speaker}'s {noun} is called {name}"
        fact = Fact(speaker, question, name, (other,), (), statement, relation=f"name of {noun}", sources=(source,))
        yield Found(fact, is_single=False)


def _ready(given: Any, cube_id: str, source: FactSource) -> Fact:
    """Return the fact that a cube's attribute holds.

    Raises:
        InvalidInputError: if it is no mapping, or a value is missing or of a wrong kind.
    """
    where = f"attribute {READY!r} of cube {cube_id}"
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{where} is no mapping: give question, answer and subject")
    if unknown := sorted(str(key) for key in given if key not in (*_TEXTS, *_LISTS)):
        raise InvalidInputError(f"{where} has {unknown[0][:40]!r}: use {', '.join((*_TEXTS, *_LISTS))}")
    texts = {key: given[key] for key in _TEXTS if key in given}
    lists = {key: given[key] for key in _LISTS if key in given}
    for key in ("question", "answer", "subject"):
        if key not in texts:
            raise InvalidInputError(f"{where} has no {key!r}: give a text")
    if wrong := [key for key, value in texts.items() if not isinstance(value, str)]:
        raise InvalidInputError(f"{wrong[0]} in {where} is no text")
    for key, value in lists.items():
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise InvalidInputError(f"{key} in {where} is no list of texts")
    return Fact(**texts, **{key: tuple(value) for key, value in lists.items()}, sources=(source,))


def _with_short_names(facts: list[Fact], speakers: set[str]) -> list[Fact]:
    """Return the facts, speakers of several names found by their first name too, where only one person has it."""
    names = {fact.subject for fact in facts} | speakers
    firsts = [name.split()[0].lower() for name in names]
    return [
        replace(fact, aliases=(fact.subject.split()[0],))
        if fact.subject in speakers
        and not fact.aliases
        and " " in fact.subject
        and firsts.count(fact.subject.split()[0].lower()) == 1
        else fact
        for fact in facts
    ]


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
