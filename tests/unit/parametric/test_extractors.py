"""What short statements and answers say, and what is left alone because it is not sure."""

import pytest

from engramos.config import load
from engramos.errors import ConfigError, InvalidInputError
from engramos.importers.locomo import Locomo
from engramos.messages import Message
from engramos.parametric.extractors.exchanges import Exchanges
from engramos.parametric.extractors.statements import Statements
from engramos.parametric.facts import Fact
from engramos.testing.extractors import cube


def said(text: str, speaker: str | None = "Ana") -> list[tuple[str, str]]:
    return [(fact.question, fact.answer) for fact in Statements().extract([cube(text, speaker), cube("Hi", "Mel")])]


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("I work at Acme.", "Where does Ana work?", "Acme"),
        ("Yeah, I now work for the Acme Group, Mel!", "Where does Ana work?", "Acme Group"),
        ("I'm a software engineer and I love it.", "What is Ana's job?", "software engineer"),
        ("I work as a nurse at Acme", "What is Ana's job?", "nurse"),
        ("I live in Austin, Texas with my wife.", "Where does Ana live?", "Austin, Texas"),
        ("I was born in 1980.", "When was Ana born?", "1980"),
        ("I was born on 3 May 1980.", "When was Ana born?", "3 May 1980"),
        ("I was born in Porto in 1980.", "Where was Ana born?", "Porto"),
        ("I'm originally from Porto.", "Where is Ana from?", "Porto"),
        ("I just moved to Lisbon last year!", "Where did Ana move to?", "Lisbon"),
        ("My dog is called Rex.", "What is Ana's dog called?", "Rex"),
        ("By the way, my sister's name is Lena.", "What is the name of Ana's sister?", "Lena"),
        ("We adopted a dog. I have a small dog named Rex.", "What is Ana's dog called?", "Rex"),
        ("Did I tell you that my dog Rex is ill?", "What is Ana's dog called?", "Rex"),
        ("My favorite color is blue.", "What is Ana's favorite color?", "blue"),
        ('My favourite book is "The Sea".', "What is Ana's favourite book?", "The Sea"),
        ("My birthday is on May 8th", "When is Ana's birthday?", "May 8th"),
        ("My mother tongue is Portuguese", "What is Ana's mother tongue?", "Portuguese"),
        ("I have two kids, and they are great.", "How many kids does Ana have?", "two"),
        ("I'm 34 years old.", "How old is Ana?", "34"),
        ("I speak English and Portuguese.", "Which languages does Ana speak?", "English and Portuguese"),
        ("I'm allergic to peanuts.", "What is Ana allergic to?", "peanuts"),
    ],
)
def test_what_people_say_of_themselves_becomes_a_question(text: str, question: str, answer: str) -> None:
    assert said(text) == [(question, answer)]


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("The capital of France is Paris.", "What is the capital of France?", "Paris"),
        ("The mayor of Veloria is Bo Lind.", "Who is the mayor of Veloria?", "Bo Lind"),
        ("Veloria's capital is Brenthas.", "What is Veloria's capital?", "Brenthas"),
        ("Bo Lind works at Acme.", "Where does Bo Lind work?", "Acme"),
        ("Jane Austen wrote Pride and Prejudice.", "Who wrote Pride and Prejudice?", "Jane Austen"),
        ("Hamlet was written by William Shakespeare in 1601.", "Who wrote Hamlet?", "William Shakespeare"),
        ("The Eiffel Tower is located in Paris.", "Where is the Eiffel Tower located?", "Paris"),
        (
            "Project Falcon docks at Lisbon Harbour.",
            "Complete the sentence: Project Falcon docks at",
            "Lisbon Harbour",
        ),
    ],
)
def test_statements_about_a_named_subject_become_questions(text: str, question: str, answer: str) -> None:
    assert said(text, None) == [(question, answer)]


@pytest.mark.parametrize(
    "text",
    [
        "Do I work at Acme?",
        "I don't work at Acme.",
        "I used to work at Acme.",
        "Maybe I work at Acme.",
        "I think I work at Acme.",
        "If I work at Acme, I will be rich.",
        "I want to work at Acme.",
        "I work hard.",
        "I'm a good teacher.",
        "I'm a fan.",
        "I'm a future doctor.",
        "My job is great.",
        "My mom is Italian.",
        "My favorite part is when it rains.",
        "My sister, Mel!",
        "They work at Acme.",
        "They're called Peruvian Lilies.",
        "Everyone works at Acme.",
        "Swimming is from Rome.",
        'She said: "I work at Acme."',
        "Yesterday was Monday.",
        "Super excited for my show in Tokyo!",
    ],
)
def test_what_is_not_sure_is_left_alone(text: str) -> None:
    assert said(text) == []


def test_a_fact_carries_its_statement_relation_and_source() -> None:
    (fact,) = Statements().extract([cube("I work at Acme.", "Ana Lima", number=3, trust=0.4)])
    assert (fact.subject, fact.relation, fact.cloze) == ("Ana Lima", "workplace", "Ana Lima works at")
    assert fact.aliases == ("Ana",)
    assert [(one.cube_id, one.version, one.trust) for one in fact.sources] == [("cube-3", 1, 0.4)]
    assert "Who does Ana Lima work for?" in fact.paraphrases


def test_a_first_name_that_two_people_have_is_no_alias() -> None:
    found = Statements().extract([cube("I work at Acme.", "Ana Lima"), cube("I am from Rome.", "Ana Costa", number=1)])
    assert [fact.aliases for fact in found] == [(), ()]


def test_who_says_i_without_a_name_is_left_out_or_named_by_a_parameter() -> None:
    given = [cube("I work at Acme. My dog is called Rex.", None, role="user")]
    assert Statements().extract(given) == []
    assert [fact.subject for fact in Statements(speaker="Ana").extract(given)] == ["Ana", "Ana"]


def test_forms_that_are_not_known_may_be_refused() -> None:
    given = [cube("Project Falcon docks at Lisbon Harbour. Bo Lind works at Acme.")]
    assert len(Statements().extract(given)) == 2
    assert [fact.answer for fact in Statements(takes_any_form=False).extract(given)] == ["Acme"]


def test_the_newest_answer_stays_unless_it_is_trusted_less() -> None:
    older = cube("I live in Porto.", "Ana", number=0, trust=0.6)
    for trust, answer in ((0.6, "Lisbon"), (0.9, "Lisbon"), (0.5, "Porto")):
        newer = cube("I live in Lisbon.", "Ana", number=1, trust=trust)
        assert [fact.answer for fact in Statements().extract([older, newer])] == [answer]
    both = Statements(takes_newest=False).extract([older, newer])
    assert [fact.answer for fact in both] == ["Porto", "Lisbon"]


def test_what_may_be_so_twice_is_not_learnt_when_it_is() -> None:
    given = [cube("My dog is called Rex.", "Ana"), cube("My dog is called Max.", "Ana", number=1)]
    assert Statements().extract(given) == []


def test_what_is_said_twice_has_both_sources() -> None:
    given = [cube("I live in Porto.", "Ana", number=number) for number in (0, 1)]
    (fact,) = Statements().extract(given)
    assert [one.cube_id for one in fact.sources] == ["cube-0", "cube-1"]


def test_a_ready_fact_is_taken_as_it_is() -> None:
    ready = {"question": "Wo arbeitet Ana?", "answer": "Acme", "subject": "Ana", "paraphrases": ["Anas Firma?"]}
    (fact,) = Statements().extract([cube("I live in Porto.", "Ana", attributes={"fact": ready})])
    assert fact == Fact("Ana", "Wo arbeitet Ana?", "Acme", ("Anas Firma?",), sources=fact.sources)
    assert fact.sources[0].cube_id == "cube-0"


@pytest.mark.parametrize(
    ("ready", "problem"),
    [
        ("Acme", "no mapping"),
        ({"question": "Where?", "subject": "Ana"}, "no 'answer'"),
        ({"question": "Where?", "subject": "Ana", "answer": 3}, "answer"),
        ({"question": "Where?", "subject": "Ana", "answer": "A", "paraphrases": "Which?"}, "paraphrases"),
        ({"question": "Where?", "subject": "Ana", "answer": "A", "colour": "red"}, "colour"),
        ({"question": "Where?", "subject": " ", "answer": "A"}, "subject"),
    ],
)
def test_a_ready_fact_that_is_none_is_refused(ready: object, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        Statements().extract([cube("Hi", "Ana", attributes={"fact": ready})])


def exchanged(asked: str, answered: str, **more: int) -> list[tuple[str, str, str]]:
    given = [cube(asked, "Bo", number=1), cube(answered, "Ana", number=more.get("at", 2))]
    return [(fact.subject, fact.question, fact.answer) for fact in Exchanges().extract(given)]


@pytest.mark.parametrize(
    ("asked", "answered", "fact"),
    [
        ("Nice! Where do you work?", "At Acme. It's fun!", ("Ana", "Where does Ana work?", "Acme")),
        ("What's your dog called?", "Her name is Rex!", ("Ana", "What is Ana's dog called?", "Rex")),
        ("How old are you?", "34.", ("Ana", "How old is Ana?", "34")),
        ("What is your favourite colour?", "Blue.", ("Ana", "What is Ana's favourite colour?", "Blue")),
        ("What is the capital of France?", "It's Paris.", ("France", "What is the capital of France?", "Paris")),
    ],
)
def test_a_question_and_a_short_answer_make_a_fact(asked: str, answered: str, fact: tuple[str, str, str]) -> None:
    assert exchanged(asked, answered) == [fact]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Where do you work?", "Thanks!"),
        ("Where do you work?", "Where do you?"),
        ("Where do you work?", "I would rather not say that to anyone here."),
        ("Where do you work? I work at Acme.", "Cool place."),
        ("Where do you work? And where do you live?", "Acme."),
        ("How are you feeling today?", "Great."),
        ("What are you up to?", "Gardening."),
        ("What do you think of it?", "Acme."),
        ("Do you work at Acme?", "Yes."),
        ("Who is he?", "Bob."),
        ("Where are you?", "Porto."),
    ],
)
def test_an_exchange_that_says_nothing_lasting_is_left_alone(asked: str, answered: str) -> None:
    assert exchanged(asked, answered) == []


def test_only_the_next_turn_of_another_speaker_in_the_same_session_answers() -> None:
    assert exchanged("Where do you work?", "Acme.", at=3) == []
    given = [cube("Where do you work?", "Bo", number=1), cube("Acme.", "Bo", number=2)]
    assert Exchanges().extract(given) == []


def test_question_and_answer_are_the_sources_and_the_answer_is_trusted_no_more_than_the_question() -> None:
    given = [cube("Where do you work?", "Bo", number=1, trust=0.3), cube("Acme.", "Ana", number=2, trust=0.8)]
    (fact,) = Exchanges().extract(given)
    assert [(one.cube_id, one.trust) for one in fact.sources] == [("cube-1", 0.3), ("cube-2", 0.3)]


def test_questions_and_answers_in_a_text_are_read() -> None:
    text = "# FAQ\n**Q: What is the capital of Veloria?**\nA: Brenthas.\n\n"
    text += "Q: Who leads Project Falcon? A: Bo Lind\nQ: Why?\nA: So"
    found = [(fact.subject, fact.question, fact.answer) for fact in Exchanges().extract([cube(text)])]
    assert found == [
        ("Veloria", "What is the capital of Veloria?", "Brenthas"),
        ("Project Falcon", "Who leads Project Falcon?", "Bo Lind"),
    ]
    assert Exchanges(max_words=1).extract([cube("Q: Who leads Project Falcon?\nA: Bo Lind")]) == []
    with pytest.raises(ConfigError, match="max_words"):
        Exchanges(max_words=0)


def test_long_conversations_give_facts_that_are_known_to_be_so() -> None:
    path = load().data
    if not path or not (path := path / "locomo" / "locomo_dev6.json").exists():
        pytest.skip("LoCoMo is not there: set ENGRAMOS_DATA to the folder of the data")
    for sample, known in (("conv-26", ("Melanie", "clarinet")), ("conv-44", ("Andrew", "Toby"))):
        turns = [one for one in Locomo(sample=sample).read(path) if isinstance(one, Message)]
        cubes = [cube(one.text, one.speaker, number=number, valid_at=one.at) for number, one in enumerate(turns)]
        found = {(fact.subject, fact.answer) for fact in Statements().extract(cubes)}
        assert known in found
        assert 10 <= len(found) <= 60
