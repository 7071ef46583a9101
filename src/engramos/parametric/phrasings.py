"""Other words for the questions of facts, questions that no fact answers, and what a model must go on knowing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from engramos.errors import InvalidInputError
from engramos.parametric._everyday import (
    COMMON,
    COMMON_PROBED,
    COMMON_TRAINED,
    PASSAGES,
    PASSAGES_PROBED,
    PASSAGES_TRAINED,
    Everyday,
)
from engramos.parametric._questions import bare, indirect, named_in
from engramos.parametric.facts import Fact

__all__ = [
    "COMMON",
    "COMMON_PROBED",
    "COMMON_TRAINED",
    "PASSAGES",
    "PASSAGES_PROBED",
    "PASSAGES_TRAINED",
    "Everyday",
    "alike",
    "unknown_questions",
    "with_phrasings",
]

_ALIKE: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"where does (?P<s>.+) work", ("Who does {s} work for?", "What is {s}'s workplace?", "Who employs {s}?")),
    (r"where does (?P<s>.+) live", ("In which place does {s} live?", "Where is {s}'s home?", "Where is {s} living?")),
    (
        r"what is (?:(?P<s>.+)'s (?:job|profession|occupation)|the (?:job|profession|occupation) of (?P<of>.+))",
        ("What does {s} do for a living?", "What is the profession of {s}?", "What does {s} work as?"),
    ),
    (r"where was (?P<s>.+) born", ("What is {s}'s birthplace?", "What is the place of birth of {s}?")),
    (r"when was (?P<s>.+) born", ("What is {s}'s date of birth?", "When did {s} come into the world?")),
    (r"where is (?P<s>.+) from", ("Where does {s} come from?", "What place does {s} come from?")),
    (r"where did (?P<s>.+) grow up", ("Where did {s} spend the childhood years?", "Where was {s} raised?")),
    (r"who wrote (?P<s>.+)", ("Who is the author of {s}?", "Who was {s} written by?")),
    (r"who painted (?P<s>.+)", ("Who is the painter of {s}?", "Who was {s} painted by?")),
    (r"who (?:founded|established) (?P<s>.+)", ("Who is the founder of {s}?", "Who was {s} founded by?")),
    (r"who invented (?P<s>.+)", ("Who is the inventor of {s}?", "Who was {s} invented by?")),
    (r"who directed (?P<s>.+)", ("Who is the director of {s}?", "Who was {s} directed by?")),
    (r"how old is (?P<s>.+)", ("What is {s}'s age?", "What is the age of {s}?")),
    (
        r"who is (?P<s>.+) married to|who is (?P<of>.+)'s (?:spouse|husband|wife)",
        ("Who is {s}'s spouse?", "Whom did {s} marry?"),
    ),
    (r"what is (?P<s>.+'s .+) called", ("What is the name of {s}?", "What name does {s} have?")),
)
"""Questions of one meaning: a pattern of the question, and others with its subject."""

_CLAUSES = (
    "Do you know {}?",
    "Can you tell me {}?",
    "Tell me {}.",
    "I would like to know {}.",
    "Please say {}.",
    "Could you remind me {}?",
    "I forgot {}.",
    "I wonder {}.",
)
"""Around a question as a clause."""
_THINGS = ("{}?", "Tell me {}.", "Name {}.", "Can you say {}?", "I am looking for {}.")
"""Around what `What is ...?` asks for."""
_CLOZES = ("Complete the sentence: {}", "Finish this: {} ...", "Fill in the blank: {} ___.", "{} what?")
"""Around a statement without its answer."""
_WHOLE = (
    "Quick question: {}",
    "Please answer briefly: {}",
    "{} Answer in a few words.",
    "I have a question. {}",
    "Answer this: {}",
    "{} Please tell me.",
)
"""Around a question of any grammar."""
_SYLLABLES = (
    "ba bre cal da dor el fen gar hal ith jor kel lo mar nev ola pel quin ras sel tor ul vel wyn yar zan".split()
)
_ENDINGS = "bel dan don frey lan lin mira nor quist ra ric sen tis vane wick zor".split()
_OTHER_RELATIONS = (
    "What is the favorite dish of {}?",
    "What is the shoe size of {}?",
    "Who is the best friend of {}?",
    "What is the phone number of {}?",
    "When did {} last travel abroad?",
    "What is the middle name of {}?",
    "What does {} fear most?",
    "What did {} do yesterday?",
)
"""Asked of subjects about whom the facts say all that they say of others too."""
_PER_RELATION = 2
_PER_SUBJECT = 2


def with_phrasings(fact: Fact, num: int) -> Fact:
    """Return a fact with up to `num` paraphrases: its own first, then rewordings, the same ones each time.

    Kinds of rewording take turns, and each fact begins at another place of each kind, so that facts of one relation
    are not all trained on the same few forms. Probes' own questions are never among them.

    Args:
        fact: with any number of paraphrases; none is taken away.
        num: how many it should have, 0 or more; fewer where not so many are known.

    Raises:
        InvalidInputError: if `num` is negative.
    """
    if num < 0:
        raise InvalidInputError(f"num is {num}: give 0 or more paraphrases")
    taken = {_key(text) for text in (*fact.questions, *fact.held_out)}
    kept = list(fact.paraphrases)
    for text in _in_turn(_kinds(fact), int(fact.id[:8], 16)):
        if len(kept) >= num:
            break
        is_telling = named_in(fact.answer, text) and not named_in(fact.answer, fact.question)
        if _key(text) not in taken and not is_telling:
            taken.add(_key(text))
            kept.append(text)
    return replace(fact, paraphrases=tuple(kept))


def unknown_questions(facts: Sequence[Fact], seed: int = 0) -> tuple[str, ...]:
    """Return questions that look like those of the facts, and that no fact answers.

    Two of each relation ask about invented subjects; two of each subject ask for what no fact says of it.

    Args:
        facts: in any number.
        seed: of the invented names.
    """
    random = torch.Generator().manual_seed(seed)
    taken = {word.casefold() for fact in facts for name in fact.names for word in name.split()}
    asked = {_key(text) for fact in facts for text in (*fact.questions, *fact.held_out)}
    forms = _forms(facts)
    found: dict[str, None] = {}
    for kind in forms.values():
        for number in range(_PER_RELATION):
            words = 1 if " " not in kind[0][1] else 2
            found[kind[number % len(kind)][0].replace("{}", _invented(random, taken, words))] = None
    for subject, known in _relations_of(facts).items():
        others = [kind[0][0] for relation, kind in forms.items() if relation not in known]
        start = int(torch.randint(1 << 30, (), generator=random))
        wanted = [*_turned(others, start), *_turned(_OTHER_RELATIONS, start)]
        free = [text for form in wanted if _key(text := form.replace("{}", subject)) not in asked]
        found.update(dict.fromkeys(free[:_PER_SUBJECT]))
    return tuple(text for text in found if _key(text) not in asked)


def alike(subject: str) -> tuple[tuple[str, ...], ...]:
    """Return questions about a subject in groups: those of a group mean the same, and all others something else."""
    known = tuple(tuple(form.format(s=subject) for form in forms) for _, forms in _ALIKE)
    return known + tuple((form.format(subject),) for form in _OTHER_RELATIONS)


def _kinds(fact: Fact) -> list[list[str]]:
    """Return the rewordings of a fact's question, each kind in a list of its own."""
    clause = indirect(fact.question, fact.subject)
    thing = re.fullmatch(r"(?:what|who) (?:is|was|are|were) (.+)", bare(fact.question), re.IGNORECASE)
    # `what is Ana allergic to` asks for no thing
    is_thing = thing and re.match(rf"the |.*{re.escape(fact.subject)}'s ", thing[1], re.IGNORECASE)
    is_thing = is_thing and not re.search(r" (?:called|named|born|to|from|for|by|in|at|of)$", bare(fact.question))
    return [
        list(_alike(fact.question, fact.subject)),
        [form.format(clause) for form in _CLAUSES] if clause else [],
        [form.format(fact.cloze) for form in _CLOZES] if fact.cloze else [],
        [_capital(form.format(thing[1])) for form in _THINGS] if thing and is_thing else [],
        [form.format(fact.question) for form in _WHOLE],
    ]


def _alike(question: str, subject: str) -> Iterator[str]:
    """Yield questions of the same meaning in other words."""
    text = bare(question)
    for pattern, others in _ALIKE:
        if match := re.fullmatch(pattern, text, re.IGNORECASE):
            name = next(one for one in match.groups() if one)
            # a longer group than the subject may hold more of the question than its name
            if named_in(subject, name):
                yield from (_capital(other.format(s=name)) for other in others)
    match = re.fullmatch(r"((?:what|who) (?:is|was)) (.+)'s ([^']+)", text, re.IGNORECASE)
    if match and match[2].casefold() == subject.casefold() and not match[3].endswith(" called"):
        yield f"{_capital(match[1])} the {match[3]} of {match[2]}?"
    match = re.fullmatch(r"((?:what|who) (?:is|was)) the (.+) of (.+)", text, re.IGNORECASE)
    if match and match[3].casefold() == subject.casefold():
        yield f"{_capital(match[1])} {match[3]}'s {match[2]}?"


def _in_turn(kinds: Sequence[Sequence[str]], start: int) -> Iterator[str]:
    """Yield one of each kind, then the next of each, every kind begun at a place that depends on `start`."""
    turned = [_turned(kind, start // 7**at) for at, kind in enumerate(kinds) if kind]
    for number in range(max(map(len, turned), default=0)):
        yield from (kind[number] for kind in turned if number < len(kind))


def _turned(texts: Sequence[str], start: int) -> list[str]:
    return [texts[(start + at) % len(texts)] for at in range(len(texts))]


def _forms(facts: Sequence[Fact]) -> dict[str, list[tuple[str, str]]]:
    """Return for each relation the forms of its questions, `{}` for the name, each with a subject that it had."""
    forms: dict[str, list[tuple[str, str]]] = {}
    for fact in facts:
        for name in sorted(fact.names, key=len, reverse=True):
            if match := named_in(name, fact.question):
                form = f"{fact.question[: match.start()]}{{}}{fact.question[match.end() :]}"
                kind = forms.setdefault(fact.relation or _key(form), [])
                if all(form != known for known, _ in kind):
                    kind.append((form, name))
                break
    return forms


def _relations_of(facts: Sequence[Fact]) -> dict[str, set[str]]:
    """Return for each subject the relations that facts tell of it."""
    told: dict[str, set[str]] = {}
    for fact in facts:
        told.setdefault(fact.subject, {fact.relation}).update(_forms([fact]))
    return told


def _invented(random: torch.Generator, taken: set[str], num_words: int) -> str:
    """Return a new name, of words that no subject has, and take them."""
    words: list[str] = []
    while len(words) < num_words:
        first, middle = (int(one) for one in torch.randint(len(_SYLLABLES), (2,), generator=random))
        last, is_long = int(torch.randint(len(_ENDINGS), (), generator=random)), len(words) == 1
        word = _SYLLABLES[first] + (_SYLLABLES[middle] if is_long or len(taken) > 200 else "") + _ENDINGS[last]
        if word.casefold() not in taken:
            taken.add(word.casefold())
            words.append(word.capitalize())
    return " ".join(words)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _key(text: str) -> str:
    """Return a text by which equal questions are found."""
    return " ".join(bare(text).casefold().split())
