"""What each form finds in talk, and what is left alone because it is asked, supposed, quoted, or too vague."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.parametric.extractors._times import preposition, shown, when
from engramos.parametric.extractors.exchanges import Exchanges
from engramos.parametric.extractors.statements import Statements
from engramos.parametric.facts import Fact, without_duplicates
from engramos.testing.extractors import cube

WEDNESDAY = datetime(2024, 5, 15, 18, tzinfo=UTC)


def found(text: str, speaker: str | None = "Ana") -> list[Fact]:
    return Statements().extract([cube(text, speaker, valid_at=WEDNESDAY), cube("Hi", "Mel", number=1)])


def asked(text: str, speaker: str | None = "Ana") -> set[tuple[str, str]]:
    return {(fact.question, fact.answer) for fact in found(text, speaker)}


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("I'm 47 and tired of it, what should I do?", "How old is Ana?", "47"),
        ("You know, as a 47-year-old, I need more sleep.", "How old is Ana?", "47"),
        ("At my age, 47, it is hard.", "What is it?", ""),
        ("I earn about $51,000 a year, is that enough?", "How much does Ana earn a year?", "$51,000"),
        ("I've been married for 6 years.", "How long has Ana been married?", "6 years"),
        ("I'm divorced.", "What is Ana's marital status?", "divorced"),
        ("I'm a vegetarian.", "What diet does Ana follow?", "vegetarian"),
        ("I'm lactose intolerant, so no milk for me.", "What is Ana intolerant to?", "lactose"),
        ("I graduated from Selby College.", "Where did Ana graduate from?", "Selby College"),
        ("I've been playing the harp for nine years now.", "How long has Ana been playing the harp?", "nine years"),
        ("I've been keeping bees since June 2019.", "Since when has Ana been keeping bees?", "June 2019"),
        ("I've known Ruben for 12 years.", "How long has Ana known Ruben?", "12 years"),
        ("I prefer night trains over planes for long trips.", "What does Ana prefer to planes?", "night trains"),
        ("I chose Svelte over Angular because it is small.", "What did Ana choose over Angular?", "Svelte"),
        ("My go-to snack is popcorn.", "What is Ana's go-to snack?", "popcorn"),
        ("My dream is to open a small bakery.", "What is Ana's dream?", "to open a small bakery"),
        ("I'm a proud mom of three kids.", "How many children does Ana have?", "three"),
        ("I'm a huge fan of jazz.", "What is Ana a fan of?", "jazz"),
        ("I love detective novels.", "What kind of novels does Ana like?", "detective"),
        ("I teach pottery at the town hall.", "What does Ana teach?", "pottery"),
        ("I volunteer at an animal shelter on Sundays.", "Where does Ana volunteer?", "animal shelter"),
        ("My brother is a plumber.", "What is the job of Ana's brother?", "plumber"),
        ("One of my favorite meals is moussaka!", "What is one of Ana's favorite meals?", "moussaka"),
        ("It is a song from my home country, Norway.", "What is Ana's home country?", "Norway"),
        ("As a paramedic, I see a lot.", "What is Ana's job?", "paramedic"),
        ("My role as a data analyst takes all day.", "What is Ana's job?", "data analyst"),
        ("Living in Upper Tilling, I know every hen.", "Where does Ana live?", "Upper Tilling"),
        ("My monthly rent is $900.", "What is Ana's monthly rent?", "$900"),
        ("How do I keep to my grocery budget of $210?", "What is Ana's grocery budget?", "$210"),
        ("My dental appointment is on June 3, 2024.", "When is Ana's dental appointment?", "June 3, 2024"),
        (
            "I've got a job interview with Ruben on June 4, any tips?",
            "When is Ana's job interview with Ruben?",
            "June 4",
        ),
        ("Is my colleague Ruben right?", "What is Ruben's relation to Ana?", "colleague"),
        ("My son, Timo, is ill.", "What is Timo's relation to Ana?", "son"),
        ("My parents, Olga and Ivo, are coming.", "What are the names of Ana's parents?", "Olga and Ivo"),
        ("My 6-year-old daughter loves snow.", "How old is Ana's daughter?", "6"),
        ("We adopted a tiny kitten named Misty.", "What is Ana's kitten called?", "Misty"),
        ("I paid $35 for my new bicycle bell on May 2.", "How much did Ana pay for their new bicycle bell?", "$35"),
        ("I've spent $80 on garden tools, is that much?", "How much did Ana spend on garden tools?", "$80"),
        ("I've allocated $400 for paint and brushes.", "How much has Ana allocated for paint and brushes?", "$400"),
        ("I bought a brass lamp for $15 last week.", "How much did Ana pay for a brass lamp?", "$15"),
        ("My gym membership costs $30 per month.", "How much does Ana's gym membership cost?", "$30 per month"),
        ("I've completed 14 sewing lessons.", "How many sewing lessons has Ana completed?", "14"),
        ("I met Ruben at Selby Library on May 1.", "Where did Ana meet Ruben?", "Selby Library"),
        ("I'm using Svelte 4.2.1 for it.", "Which version of Svelte does Ana use?", "4.2.1"),
        ("I'm using Traefik for load balancing.", "What does Ana use for load balancing?", "Traefik"),
    ],
)
def test_each_form_finds_what_it_is_for(text: str, question: str, answer: str) -> None:
    if not answer:
        assert asked(text) == {("How old is Ana?", "47")}
    else:
        assert (question, answer) in asked(text)


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("I went to a puppet show yesterday.", "When did Ana go to a puppet show?", "14 May 2024"),
        ("Last Friday, I bought a red canoe!", "When did Ana buy a red canoe?", "10 May 2024"),
        ("I won a chess cup on Sunday - so happy!", "When did Ana win a chess cup?", "12 May 2024"),
        ("We visited the wax museum last week.", "When did Ana visit the wax museum?", "the week before 15 May 2024"),
        ("Two days ago I adopted a goat.", "When did Ana adopt a goat?", "13 May 2024"),
        ("I joined a choir last month and love it.", "When did Ana join a choir?", "April 2024"),
        ("I started learning Welsh about three years ago.", "When did Ana start learning Welsh?", "about 2021"),
        ("I attended the glass fair on March 9, was it wise?", "When did Ana attend the glass fair?", "March 9"),
        ("My sister and I finished the quilt last night.", "When did Ana finish the quilt?", "14 May 2024"),
        ("Yesterday my sister and I took a sailing class.", "When did Ana take a sailing class?", "14 May 2024"),
        ("My grandpa passed away last year.", "When did Ana's grandpa pass away?", "2023"),
        ("I met Ruben in 2019.", "When did Ana meet Ruben?", "2019"),
    ],
)
def test_what_was_done_is_dated_by_the_day_on_which_it_was_told(text: str, question: str, answer: str) -> None:
    (fact,) = found(text)
    assert (fact.question, fact.answer) == (question, answer)
    assert fact.cloze


def test_an_event_without_a_known_day_needs_a_written_date() -> None:
    assert Statements().extract([cube("I went to a puppet show yesterday.", "Ana")]) == []
    (fact,) = Statements().extract([cube("I went to a puppet show on 3 May 2024.", "Ana")])
    assert fact.answer == "3 May 2024"
    assert fact.statement == "Ana went to a puppet show on 3 May 2024"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("Can my friend Ruben, 58, come?", {("How old is Ruben?", "58")}),
        ("I met Ruben, a 58-year-old harpist and baker, there.", {("How old is Ruben?", "58")}),
        ("Do you know Olga, who's 31 and a marine biologist?", {("What is Olga's job?", "marine biologist")}),
        (
            "My 12-year-old nephew Timo swims.",
            {("How old is Timo?", "12"), ("What is Timo's relation to Ana?", "nephew")},
        ),
        ("Ask Olga, who lives in Upper Tilling, about it.", {("Where does Olga live?", "Upper Tilling")}),
        ("It was Olga, she's 31 and owns Blue Door Bakery.", {("What does Olga own?", "Blue Door Bakery")}),
        ("It was Olga, who works at the Selby Mill.", {("Where does Olga work?", "Selby Mill")}),
    ],
)
def test_what_is_said_of_others_in_passing_is_found_with_their_name(text: str, facts: set[tuple[str, str]]) -> None:
    assert facts <= asked(text)


@pytest.mark.parametrize(
    "text",
    [
        "If I go on, I'm 47 and alone.",
        "Imagine that my friend Ruben, 58, came.",
        "Do you think I'm a vegetarian?",
        "I'm not a vegetarian.",
        "I'm a vegetarian, lol.",
        'He said "I\'m a vegetarian" to all.',
        "He told me, I'm a vegetarian.",
        "I might be a vegetarian.",
        "I want to graduate from Selby College.",
        "I wish I was married to Ruben.",
        "He works as a nurse, I think.",
        "As a nurse, you see a lot.",
        "My friend, Ruben and I are off.",
        "My sister, Mel!",
        "I spent $20 on it.",
        "I paid $20 for something.",
        "I went to it yesterday.",
        "I did well last week.",
        "I had fun yesterday.",
        "I've registered for a webinar on June 3.",
        "I prepared for the budget meeting on June 3.",
        "I've got a tight schedule on June 3.",
        "My budget is $300.",
        "My new budget is $300.",
        "When is my meeting with him on June 3?",
        "I met Ruben at the Selby Science Center, he's 42.",
        "I'm writing a story about Olga, a 31-year-old nurse.",
        "I prefer tea to relax.",
        "Why do they pay $51,000 a year?",
    ],
)
def test_what_is_asked_supposed_quoted_meant_in_jest_or_vague_is_left_alone(text: str) -> None:
    told = {one for one in asked(text) if one not in {("Where did Ana meet Ruben?", "Selby Science Center")}}
    assert told == set()


def told_by_user(*texts: str) -> list[Fact]:
    return Statements().extract([cube(text, None, number=at, role="user") for at, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("I'm Ruben, and I need help.", "Ruben"),
        ("My name is Ruben Okafor.", "Ruben Okafor"),
        ("How can someone like me, Ruben Okafor, bake?", "Ruben Okafor"),
    ],
)
def test_a_user_without_a_speaker_has_the_name_that_they_say(said: str, name: str) -> None:
    (fact,) = told_by_user("I live in Upper Tilling.", said)
    assert (fact.subject, fact.answer) == (name, "Upper Tilling")
    assert [source.cube_id for source in fact.sources] == ["cube-0", "cube-1"]


@pytest.mark.parametrize("said", ["I'm Italian, and proud.", "I'm Catholic.", "I'm Ruben, hi. I'm Olga, hi.", "Hello."])
def test_a_user_without_a_sure_name_says_nothing_of_themselves(said: str) -> None:
    assert told_by_user("I live in Upper Tilling.", said) == []


def test_the_same_facts_come_out_of_their_sources_alone() -> None:
    texts = ["I live in Selby.", "I'm Ruben, hi.", "My dog Rex is ill.", "What now?", "I earn $900 a year."]
    cubes = [cube(text, None, number=at, role="user") for at, text in enumerate(texts)]
    for fact in Statements().extract(cubes):
        wanted = {source.cube_id for source in fact.sources}
        alone = [one for one in reversed(cubes) if one.id in wanted]
        assert fact.id in {one.id for one in Statements().extract(alone)}


def test_what_may_be_so_twice_is_no_contradiction_of_which_one_is_told() -> None:
    given = [cube("My dog Rex is ill.", "Ana"), cube("My dog Max is ill.", "Ana", number=1)]
    assert Statements(takes_newest=False).extract(given) == []


def test_for_how_long_somebody_has_done_something_is_taken_from_an_answer() -> None:
    given = [
        cube("Nice harp! How long have you been playing the harp?", "Bo", number=1),
        cube("Seven years now, and I still love it!", "Ana", number=2),
        cube("How long have you been married?", "Bo", number=3),
        cube("We're not married, but it has been 3 years.", "Ana", number=4),
    ]
    (fact,) = Exchanges().extract(given)
    assert (fact.question, fact.answer) == ("How long has Ana been playing the harp?", "Seven years")


def test_a_short_answer_gives_way_to_a_statement_that_says_otherwise() -> None:
    given = [
        cube("Where do you live?", "Bo", number=1),
        cube("Selby.", "Ana", number=2),
        cube("I live in Porto.", "Ana", number=3),
    ]
    assert [fact.answer for fact in Exchanges().extract(given[:2])] == ["Selby"]
    assert Exchanges().extract(given) == []


@given(st.integers(0, 3_000), st.sampled_from("monday tuesday wednesday thursday friday saturday sunday".split()))
def test_the_last_day_of_a_name_lies_within_the_week_before(offset: int, name: str) -> None:
    said = datetime.fromtimestamp(1.6e9 + offset * 86_400, UTC).date()
    given_day = when(f"last {name.capitalize()}", said)
    assert given_day is not None
    day = datetime.strptime(given_day, "%d %B %Y").date()
    assert 1 <= (said - day).days <= 7
    assert day.strftime("%A").lower() == name
    assert shown(day) == given_day


@pytest.mark.parametrize(
    ("time", "before"),
    [
        ("7 May 2024", "on "),
        ("April 2024", "in "),
        ("2023", "in "),
        ("March 9", "on "),
        ("the week before 7 May", "in "),
    ],
)
def test_a_time_has_its_preposition(time: str, before: str) -> None:
    assert preposition(time) == before


WORDS = st.sampled_from(
    "I I'm my My am work at as a nurse Acme dog Rex is 47 $5 for on May 3 yesterday went to the show , . ? \" if and"
    " but live in Selby Ruben who's not prefer over since met 2019".split()
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=25))
def test_whatever_is_said_questions_name_their_subject_and_have_one_answer(words: list[str]) -> None:
    facts = found(" ".join(words))
    assert without_duplicates(tuple(facts)) == tuple(facts)
    for fact in facts:
        assert fact.subject in fact.question, fact
        assert fact.answer not in fact.question or fact.answer in fact.subject, fact
        assert "§" not in "".join((*fact.questions, fact.statement)), fact
        assert len(fact.answer.split()) <= 10, fact
