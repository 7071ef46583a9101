"""Facts out of one sentence: what its clauses state, what it says in passing, and when something was done."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from engramos.parametric.extractors._doings import DOINGS
from engramos.parametric.extractors._events import event_in
from engramos.parametric.extractors._forms import DONE, ECHO, FORMS, MADE, NAME, NUMBER, OF, PERSONS, Form
from engramos.parametric.extractors._mentions import OTHERS, OWN
from engramos.parametric.extractors._sentences import (
    Said,
    clauses_of,
    is_name,
    is_person_word,
    is_supposed,
    plainer,
    said_in,
)
from engramos.parametric.extractors._settled import Found
from engramos.parametric.extractors._values import cleaned, in_third_person, is_of_nation, shape_of, untimed
from engramos.parametric.extractors._words import DAY
from engramos.parametric.facts import Fact

_OWN_FORMS = tuple(form for form in (*DOINGS, *FORMS) if form.of in ("all", "own"))
_JEST = re.compile(r"\b(?:lol|lmao|jk|kidding|joking|yeah right)\b|[😂🤣🙄😜😏]|/s$", re.IGNORECASE)
_INVENTED = re.compile(
    r"\b(?:character|protagonist|story|novel|screenplay|fiction\w*|scene|example|named after)\b", re.I
)
_MAX_SENTENCE = 2_000
"""Characters; what is longer is no speech."""
_CALLED = frozenset(("o", "s"))
"""Groups that hold names."""
_PART_OF_NAME = re.compile(r"(?:[A-Z][\w&.]*|\b[Tt]he) $")
"""What before a name tells that this is not the whole of it, or that it is no person's."""
_NAMED_FORMS = tuple(form for form in FORMS if form.of in ("all", "named"))


@dataclass(frozen=True, slots=True)
class Telling:
    """Who says a sentence, to whom, and when."""

    speaker: str
    """Who says `I`; empty where nobody is known to."""
    others: frozenset[str]
    """Those who are spoken to, in lower case."""
    day: date | None = None
    """On which it was said; None where unknown."""
    takes_any_form: bool = False
    """Whether a statement about a named subject needs no known form."""


def facts_in(sentence: str, telling: Telling) -> Iterator[Found]:
    """Yield what a sentence says, without sources; nothing where it is meant in jest."""
    if len(sentence) > _MAX_SENTENCE or _JEST.search(sentence):
        return
    yield from _mentioned(sentence, telling)
    is_first = True
    for clause in clauses_of(sentence):
        said = said_in(clause, telling.speaker, telling.others)
        is_whole = is_first and not sentence.rstrip("\"')").endswith("?")
        is_first = False
        if said and (said.is_own or is_whole):
            if one := _stated(said, telling):
                yield one
        elif not said and is_whole and (one := _of_another(sentence, telling.others)):
            yield one
        if telling.speaker and (one := _event(clause, said, telling)):
            yield one


def _stated(said: Said, telling: Telling) -> Found | None:
    """Return what a clause says in the first form that fits."""
    if not said.is_own and (made := _made(said)):
        return made
    for text in dict.fromkeys((untimed(plainer(said.text)), plainer(said.text), said.text)):
        for form in _OWN_FORMS if said.is_own else _NAMED_FORMS:
            match = form.expression.fullmatch(text)
            if match and (value := cleaned(match["v"], form, telling.others)):
                one = _of_form(form, said.subject, said.spoken, match.groupdict(), value)
                if one:
                    return one
    return _echo(said) if telling.takes_any_form and not said.is_own else None


def _mentioned(sentence: str, telling: Telling) -> Iterator[Found]:
    """Yield what a sentence says in passing, as in `my dog Rex`; it may be a question, but nothing quoted."""
    others = () if _INVENTED.search(sentence) else OTHERS
    for form in (*OWN, *others) if telling.speaker else others:
        for match in form.expression.finditer(sentence):
            before = sentence[: match.start()]
            if before.count('"') % 2 or is_supposed(before):
                continue
            given = match.groupdict()
            named = {key: _name(given[key], telling.others) for key in _CALLED & set(given)}
            if form.relation.startswith("name of"):
                named["v"] = _name(match["v"], telling.others)
            is_part = "s" in given and _PART_OF_NAME.search(sentence[: match.start("s")])
            value = cleaned(match["v"], form, telling.others)
            if not is_part and value and all(named.values()):
                subject = named.get("s") or telling.speaker
                if one := _of_form(form, subject, subject, {**given, **named}, value):
                    yield one


def _name(words: str, others: frozenset[str]) -> str | None:
    """Return the name that words are, without another word before it; None where somebody there is spoken to."""
    parts = words.split(" ")
    if len(parts) > 1 and not is_person_word(parts[0]):
        parts = parts[1:]
    name = " ".join(parts)
    is_plain = all(is_person_word(part) for part in parts) and not any(is_of_nation(part) for part in parts)
    return name if is_plain and not {name.lower(), parts[0].lower()} & others and shape_of(name) == NAME else None


def _event(clause: str, said: Said | None, telling: Telling) -> Found | None:
    """Return when the speaker did what a clause tells."""
    is_together = " and I " in clause
    if said is not None and not said.is_own and not is_together:
        return None
    text = said.text if said and not is_together else plainer(clause).strip()
    return event_in(text.rstrip(" .!"), telling.speaker, telling.day)


def _of_form(form: Form, subject: str, spoken: str, given: Mapping[str, str | None], value: str) -> Found | None:
    """Return the fact of a form that fits; None where its words point outside of it."""
    words = {**{key: found or "" for key, found in given.items()}, "s": spoken, "v": value}
    if "r" in words:
        told = in_third_person(words["r"])
        if not told or re.search(DAY, told) or (value in told and value != given["r"]):
            return None
        words["r"] = told
        if value == given["r"]:
            words["v"] = value = told
    question = form.question.format(**words)
    if words.get("n", "").split(" ")[-1] in PERSONS:
        question = re.sub("^What is (?!the name)", "Who is ", question)
    asked = tuple(_capital(one.format(**words)) for one in form.paraphrases)
    statement = _capital(form.statement.format(**words))
    return Found(
        Fact(subject, _capital(question), value, asked, (), statement, relation=form.relation.format(**words)),
        form.is_single,
    )


def _of_another(sentence: str, others: frozenset[str]) -> Found | None:
    """Return what a sentence says of a subject that comes later in it, as in `The capital of France is Paris`."""
    match = OF.expression.fullmatch(sentence.rstrip(".!"))
    if match is None or not is_name(match["s"]) or not (value := cleaned(match["v"], OF, others)):
        return None
    return _of_form(OF, match["s"].removeprefix("the "), match["s"], match.groupdict(), value)


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


def with_short_names(facts: Sequence[Fact], speakers: set[str]) -> list[Fact]:
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
