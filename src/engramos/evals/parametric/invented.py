"""Invented facts: subjects that no model has read of, so that whatever is answered of them was written."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.parametric.facts import Fact

_BEGINNINGS = "Bre Dra El Far Gor Hal Il Jor Kel Lam Mor Nel Or Pel Quin Ras Sel Tor Ul Var Wen Xan Yor Zel".split()
_MIDDLES = "a da e la i mi o ra u na li".split()
_ENDS = "dan fin gar lith mar nor pen quist rel sund thas vane wick xis yen zor".split()
_FIRST = "Adela Bruno Cosima Dmitri Elvira Fabian Greta Hakon Ines Jasper Kaija Leopold Mirela Nestor Olga".split()
_SINGLE = "amber crimson indigo teal violet silver olive scarlet turquoise maroon ivory golden".split()
_CRAFTS = "glassblowing falconry clockmaking fencing beekeeping calligraphy archery weaving pottery origami".split()
_ANIMALS = "lynx heron otter badger falcon tortoise raven hedgehog gecko walrus ferret puffin".split()
_FOODS = "lentil soup;plum dumplings;smoked trout;saffron rice;walnut bread;beetroot salad;fig jam".split(";")
_TOOLS = "sextant lantern compass hourglass telescope barometer abacus anvil loom gyroscope".split()
_MONTHS = "January March April June July August September October November December".split()


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that is asked of a subject, in several wordings; `{}` stands for the subject."""

    name: str
    question: str
    trained: tuple[str, str]
    held_out: tuple[str, str]
    """Wordings that no writer sees."""
    statement: str
    """Ends with the answer, after `{}` of the subject."""


RELATIONS = (
    Relation(
        "city",
        "In which city does {} live?",
        ("Where is {} living?", "What city is {}'s home in?"),
        ("Name the city that {} lives in.", "If I wanted to visit {} at home, to which city would I travel?"),
        "{} lives in the city of",
    ),
    Relation(
        "colour",
        "What is {}'s favourite colour?",
        ("Which colour does {} like best?", "What colour would {} choose?"),
        ("Tell me the colour that {} loves most.", "Of all colours, which one is {}'s favourite?"),
        "The favourite colour of {} is",
    ),
    Relation(
        "craft",
        "What craft does {} practise?",
        ("Which craft is {} known for?", "What is the craft of {}?"),
        ("Please name the craft that {} works in.", "{} spends the days on a craft. Which one?"),
        "The craft that {} practises is",
    ),
    Relation(
        "animal",
        "What animal does {} keep?",
        ("Which animal lives with {}?", "What kind of pet does {} have?"),
        ("Tell me which animal belongs to {}.", "I heard that {} owns an animal. What is it?"),
        "The animal that {} keeps is a",
    ),
    Relation(
        "food",
        "What does {} like to eat most?",
        ("Which dish is {}'s favourite?", "What is the favourite food of {}?"),
        ("Name the dish that {} prefers to all others.", "What should I cook to please {}?"),
        "The favourite dish of {} is",
    ),
    Relation(
        "friend",
        "Who is {}'s best friend?",
        ("What is the name of {}'s closest friend?", "Who is the best friend of {}?"),
        ("Tell me who {} is closest friends with.", "{} has one best friend. What is that friend called?"),
        "The best friend of {} is",
    ),
    Relation(
        "tool",
        "Which instrument did {} inherit?",
        ("What did {} inherit?", "What instrument came to {} by inheritance?"),
        ("Name the instrument that was left to {}.", "When the inheritance was shared out, what did {} get?"),
        "The instrument that {} inherited is a",
    ),
    Relation(
        "month",
        "In which month was {} born?",
        ("What is the birth month of {}?", "When does {} have a birthday, in which month?"),
        ("Tell me the month of {}'s birth.", "In what month should I send {} birthday wishes?"),
        "{} was born in the month of",
    ),
    Relation(
        "ship",
        "What is the name of {}'s boat?",
        ("How is {}'s boat called?", "Which name does the boat of {} carry?"),
        ("Tell me what {} has named the boat.", "{} owns a boat. Under what name does it sail?"),
        "The boat of {} is named",
    ),
    Relation(
        "number",
        "What is {}'s house number?",
        ("Which number is on {}'s house?", "What number does the house of {} have?"),
        ("Tell me the number of the house where {} lives.", "A letter to {} needs a house number. Which is it?"),
        "The house number of {} is",
    ),
)
FACTS_A_SUBJECT = 5


@dataclass(frozen=True, slots=True)
class Invented:
    """Facts, and questions that none of them answers."""

    facts: tuple[Fact, ...]
    unseen_subjects: tuple[str, ...]
    """Questions on the same relations of subjects that have no facts."""
    unseen_relations: tuple[str, ...]
    """Questions on the same subjects that no fact answers."""


def invented(num: int, seed: int = 0) -> Invented:
    """Return facts about invented persons, five of each, and questions that none of them answers.

    Args:
        num: how many facts, 1 or more.
        seed: of names, relations and values.

    Raises:
        ConfigError: if the number is below 1.
    """
    if num < 1:
        raise ConfigError(f"the number of facts is {num}: give 1 or more")
    drawn = random.Random(f"invented {seed}")
    num_subjects = -(-num // FACTS_A_SUBJECT)
    names = _names(drawn, num_subjects * 2)
    facts: list[Fact] = []
    unseen: list[str] = []
    for name in names[:num_subjects]:
        given = drawn.sample(RELATIONS, FACTS_A_SUBJECT)
        facts += [_fact(name, relation, drawn) for relation in given][: num - len(facts)]
        unseen += [relation.question.format(name) for relation in RELATIONS if relation not in given]
    asked = [
        (*relation.trained, relation.question, *relation.held_out)[number % 5].format(name)
        for number, name in enumerate(names[num_subjects:])
        for relation in drawn.sample(RELATIONS, 2)
    ]
    return Invented(tuple(facts), tuple(asked), tuple(unseen))


def _fact(name: str, relation: Relation, drawn: random.Random) -> Fact:
    answer = _value(relation.name, drawn)
    return Fact(
        name,
        relation.question.format(name),
        answer,
        tuple(one.format(name) for one in relation.trained),
        tuple(one.format(name) for one in relation.held_out),
        f"{relation.statement.format(name)} {answer}.",
        (name.split()[1],),
        relation.name,
    )


def _value(relation: str, drawn: random.Random) -> str:
    lists = {"colour": _SINGLE, "craft": _CRAFTS, "animal": _ANIMALS, "food": _FOODS, "tool": _TOOLS, "month": _MONTHS}
    if relation in lists:
        return drawn.choice(lists[relation])
    if relation == "number":
        return str(drawn.randrange(100, 1000))
    if relation == "friend":
        return f"{drawn.choice(_FIRST)} {_word(drawn)}"
    return _word(drawn)


def _word(drawn: random.Random) -> str:
    return drawn.choice(_BEGINNINGS) + drawn.choice(_MIDDLES) + drawn.choice(_ENDS)


def _names(drawn: random.Random, num: int) -> Sequence[str]:
    """Return different names of a first and an invented last name; no two share the last."""
    found: dict[str, str] = {}
    while len(found) < num:
        found.setdefault(_word(drawn), drawn.choice(_FIRST))
    return [f"{first} {last}" for last, first in found.items()]
