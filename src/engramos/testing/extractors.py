"""What every extractor must keep to: run `check_extractor` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError.

Example:
    >>> from engramos.parametric.extractors.statements import Statements
    >>> check_extractor(Statements())
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from engramos.cube import ActivationPayload, CubeType, Form, Header, MemCube, PlaintextPayload
from engramos.parametric.extractors.base import Extractor
from engramos.parametric.facts import without_duplicates
from engramos.scope import Scope

TALK: tuple[tuple[str, str], ...] = (
    ("Bo", "Hi Ana, good to see you! Where do you work?"),
    ("Ana", "At Acme. I work at Acme, Bo! By the way, my dog is called Rex."),
    ("Bo", "Lovely. Which city are you from?"),
    ("Ana", "Porto. I'm from Porto."),
    ("Ana", "Maybe I will move. I don't know if I like it here. Who knows?"),
)
"""What two people say in turn; some of it sure, some not."""
ODD = (
    "",
    " ",
    "?",
    "...!!!",
    "\n\n\t",
    "I",
    "My",
    "My dog is called",
    "§ works at §.",
    "{s} works at {v}.",
    "Q: ?\nA:",
    "🙂 is called 🙂",
    "I work at " + "A" * 5_000,
    "Is " * 3_000,
    "(" * 2_000,
    "a, " * 5_000,
    "My dog Rex " * 500,
    f"Q: Who is {'Bo ' * 2_000}?\nA: Ana",
    f"Q: Who is the friend of Bo?\nA: {'A' * 3_000}",
)

Check = Callable[[Extractor], None]


def check_extractor(extractor: Extractor) -> None:
    """Run every check over an extractor."""
    for check in CHECKS:
        check(extractor)


def cube(text: str, speaker: str | None = None, *, number: int = 0, **changed: Any) -> MemCube:
    """Return an episode's cube; what else is given replaces parts of the payload or the header."""
    payload = PlaintextPayload(text, role="user" if speaker else None, speaker=speaker, position=number)
    header = Header(
        cube_id=f"cube-{number}",
        version=1,
        form=Form.PLAINTEXT,
        type=CubeType.EPISODE,
        scope=Scope("tenant", "user", session="session"),
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    own = {name: value for name, value in changed.items() if name in PlaintextPayload.__dataclass_fields__}
    rest = {name: value for name, value in changed.items() if name not in own}
    return MemCube(replace(header, **rest), replace(payload, **own))


def talk() -> list[MemCube]:
    """Return a short conversation."""
    return [cube(text, who, number=number, trust=0.5 + number / 10) for number, (who, text) in enumerate(TALK)]


def check_no_cubes_no_facts(extractor: Extractor) -> None:
    """Of nothing nothing comes."""
    assert extractor.extract([]) == []


def check_a_conversation_gives_facts(extractor: Extractor) -> None:
    """Where somebody says plainly who they are, something is found, about that person."""
    found = extractor.extract(talk())
    assert found
    assert {fact.subject for fact in found} == {"Ana"}


def check_facts_have_their_source(extractor: Extractor) -> None:
    """Each fact names versions of cubes that were given, trusted no more than these; one of them says the answer."""
    given = {(one.id, one.version): one for one in talk()}
    for fact in extractor.extract(talk()):
        assert fact.sources, fact
        for source in fact.sources:
            assert source.trust <= given[source.cube_id, source.version].header.trust, fact
        assert any(fact.answer in given[source.cube_id, source.version].text for source in fact.sources), fact


def check_facts_are_read_back_from_their_sources(extractor: Extractor) -> None:
    """The sources alone, in the order of their making, give each fact again: so adapters are repaired."""
    given = {(one.id, one.version): one for one in talk()}
    for fact in extractor.extract(talk()):
        again = extractor.extract([given[one] for one in sorted((each.cube_id, each.version) for each in fact.sources)])
        assert fact.id in {one.id for one in again}, fact


def check_facts_are_whole(extractor: Extractor) -> None:
    """Each question names its subject, no paraphrase repeats another or gives the answer, a statement ends with it."""
    for fact in extractor.extract(talk()):
        assert all(fact.subject in question for question in fact.questions), fact
        assert len(set(fact.questions)) == len(fact.questions), fact
        assert not any(fact.answer in question for question in fact.questions), fact
        assert not fact.statement or fact.cloze, fact
        assert fact.relation, fact


def check_facts_do_not_contradict_each_other(extractor: Extractor) -> None:
    """One question has one answer, though people change their minds."""
    later = [("Bo", "So where do you work?"), ("Ana", "At Umbra. I work at Umbra."), ("Ana", "My dog is called Max.")]
    more = [cube(text, who, number=number) for number, (who, text) in enumerate(later, start=len(TALK))]
    found = extractor.extract([*talk(), *more])
    assert without_duplicates(tuple(found)) == tuple(found)
    assert "Umbra" in {fact.answer for fact in found}
    assert "Acme" not in {fact.answer for fact in found}


def check_secrets_and_other_forms_are_left_out(extractor: Extractor) -> None:
    """What is secret is never learnt, and what is no text is passed over."""
    given = talk()
    hidden = [cube(one.text, TALK[number][0], number=number, type=CubeType.SECRET) for number, one in enumerate(given)]
    assert extractor.extract(hidden) == []
    header = replace(given[0].header, form=Form.ACTIVATION, type=CubeType.BLOCKS)
    tensors = MemCube(header, ActivationPayload("0" * 64, 1, {}, (1,), (0,), 1.0))
    assert extractor.extract([tensors]) == []


def check_what_a_model_said_is_not_learnt(extractor: Extractor) -> None:
    """A model's words are no source."""
    given = [cube(text, who, number=number, role="assistant") for number, (who, text) in enumerate(TALK)]
    assert extractor.extract(given) == []


def check_the_same_comes_twice(extractor: Extractor) -> None:
    """Equal cubes give equal facts."""
    assert extractor.extract(talk()) == extractor.extract(talk())


def check_odd_texts_do_no_harm(extractor: Extractor) -> None:
    """Whatever a text holds, reading it breaks nothing and takes no long time."""
    given = [
        cube(text, who, number=number) for number, text in enumerate(ODD) for who in ("Ana", "Bo", None, " ", "A" * 256)
    ]
    for fact in extractor.extract(given):
        assert fact.question, fact


CHECKS: tuple[Check, ...] = (
    check_no_cubes_no_facts,
    check_a_conversation_gives_facts,
    check_facts_have_their_source,
    check_facts_are_read_back_from_their_sources,
    check_facts_are_whole,
    check_facts_do_not_contradict_each_other,
    check_secrets_and_other_forms_are_left_out,
    check_what_a_model_said_is_not_learnt,
    check_the_same_comes_twice,
    check_odd_texts_do_no_harm,
)
"""All promises."""
__all__ = ["CHECKS", "TALK", "check_extractor", "cube", "talk"]
