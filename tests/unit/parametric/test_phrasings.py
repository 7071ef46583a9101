"""Rewordings of questions, questions that no fact answers, and everyday knowledge."""

import re

import pytest

from engramos.errors import InvalidInputError
from engramos.parametric._questions import asked_of, indirect, third_person
from engramos.parametric.facts import Fact
from engramos.parametric.phrasings import (
    COMMON,
    COMMON_PROBED,
    COMMON_TRAINED,
    PASSAGES,
    PASSAGES_PROBED,
    PASSAGES_TRAINED,
    unknown_questions,
    with_phrasings,
)

WORK = Fact("Ana Lima", "Where does Ana Lima work?", "Acme", statement="Ana Lima works at Acme", relation="workplace")
ODD = Fact("Ana", "ana? her boss -- who", "Bo")


@pytest.mark.parametrize(
    ("question", "subject", "clause"),
    [
        ("Where does Ana work?", "Ana", "where Ana works"),
        ("What does Ana study at night?", "Ana", "what Ana studies at night"),
        ("Which bus does the Falcon team catch?", "Falcon team", "which bus the Falcon team catches"),
        ("What is Ana's job?", "Ana", "what Ana's job is"),
        ("Who is Ana married to?", "Ana", "who Ana is married to"),
        ("When was Dmitri Pelmira born?", "Dmitri Pelmira", "when Dmitri Pelmira was born"),
        ("What is the capital of Veloria?", "Veloria", "what the capital of Veloria is"),
        ("What is Ana's dog called?", "Ana", "what Ana's dog is called"),
        ("How old is Ana?", "Ana", "how old Ana is"),
        ("In which city did Ana study?", "Ana", "in which city Ana studied"),
        ("Where did Ana go?", "Ana", "where Ana went"),
        ("Who wrote The Sea?", "The Sea", "who wrote The Sea"),
        ("Where has Ana been?", "Ana", "where Ana has been"),
        ("Where did Ana zorble?", "Ana", None),
        ("Ana's boss is who?", "Ana", None),
        ("Is Ana at home?", "Ana", None),
    ],
)
def test_a_question_becomes_a_clause_where_its_grammar_is_sure(question: str, subject: str, clause: str | None) -> None:
    assert indirect(question, subject) == clause


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("Where do you work?", "Where does Ana work?"),
        ("What is your dog called?", "What is Ana's dog called?"),
        ("Where are you from?", "Where is Ana from?"),
        ("which school did you attend?", "Which school did Ana attend?"),
        ("Do you like it?", None),
        ("What do you think of my plan?", None),
        ("What did you do with your car?", None),
        ("Where does Bo work?", None),
    ],
)
def test_a_question_to_someone_becomes_one_about_them(question: str, about: str | None) -> None:
    assert asked_of(question, "Ana") == about


def test_verbs_take_their_ending() -> None:
    verbs = ("work", "study", "play", "go", "watch", "do", "have", "miss")
    assert [third_person(verb) for verb in verbs] == "works studies plays goes watches does has misses".split()


def test_rewordings_name_the_subject_and_differ() -> None:
    for fact in (WORK, ODD, Fact("Veloria", "What is the capital of Veloria?", "Brenthas")):
        made = with_phrasings(fact, 12)
        keys = {re.sub(r"\W+", " ", text.lower()).strip() for text in made.questions}
        assert len(keys) == len(made.questions)
        assert all(fact.subject.lower() in text.lower() for text in made.questions)
        assert not any(fact.answer in text for text in made.questions)
        assert with_phrasings(fact, 12) == made
    assert len(with_phrasings(WORK, 12).paraphrases) == 12


def test_a_fact_keeps_its_own_paraphrases_and_its_held_out_questions_stay_held_out() -> None:
    held = tuple(with_phrasings(WORK, 6).paraphrases)
    given = Fact("Ana Lima", WORK.question, "Acme", ("What firm is Ana Lima with?",), held, WORK.statement)
    made = with_phrasings(given, 8)
    assert made.paraphrases[0] == "What firm is Ana Lima with?"
    assert not {text.lower() for text in made.questions} & {text.lower() for text in held}
    assert with_phrasings(given, 0).paraphrases == given.paraphrases
    with pytest.raises(InvalidInputError, match="num is -1"):
        with_phrasings(WORK, -1)


def test_kinds_of_rewording_take_turns() -> None:
    made = with_phrasings(WORK, 4).paraphrases
    assert any("where Ana Lima works" in text for text in made)
    assert any("Ana Lima works at" in text for text in made)
    assert any("employ" in text or "workplace" in text or "work for" in text for text in made)
    assert any(WORK.question in text for text in made)


def test_facts_of_one_relation_are_not_all_worded_alike() -> None:
    names = ["Ana", "Bo", "Cy", "Dee", "Eli", "Flo"]
    facts = [with_phrasings(Fact(name, f"What is {name}'s job?", "nurse"), 3) for name in names]
    forms = {tuple(text.replace(fact.subject, "*") for text in fact.paraphrases) for fact in facts}
    assert len(forms) > 2


def test_unknown_questions_are_of_the_same_relations_about_others() -> None:
    subjects = ("Ana Lima", "Bo", "Cy")
    facts = [Fact(name, f"What is {name}'s {one}?", one, relation=one) for name in subjects for one in ("job", "dog")]
    facts.append(Fact("Bo", "Where was Bo born?", "Rome", relation="birthplace"))
    found = unknown_questions(facts, seed=3)
    assert len(set(found)) == len(found)
    assert not {fact.question for fact in facts} & set(found)
    strangers = [text for text in found if not any(name in text for name in subjects)]
    assert len(strangers) == 6
    assert sum("'s job?" in text for text in strangers) == 2
    assert "Where was Ana Lima born?" in found
    assert "Where was Bo born?" not in found
    assert all(sum(name in text for text in found) >= 2 for name in subjects)
    assert unknown_questions(facts, seed=3) == found
    assert unknown_questions(facts, seed=4) != found
    assert unknown_questions([]) == ()


def test_invented_names_share_no_word_with_a_subject() -> None:
    facts = [Fact(f"{name} Lima", f"Where does {name} Lima live?", "Rome") for name in ("Ana", "Bo")]
    taken = {word.lower() for fact in facts for word in fact.subject.split()}
    for seed in range(30):
        for text in unknown_questions(facts, seed):
            match = re.fullmatch(r"Where does (\w+) (\w+) live\?", text)
            assert match is None or not {word.lower() for word in match.groups()} & taken


def test_everyday_questions_and_passages_come_in_two_halves_that_share_nothing() -> None:
    assert (len(COMMON), len(COMMON_TRAINED), len(COMMON_PROBED)) == (30, 15, 15)
    assert len({one.question for one in COMMON}) == 30
    assert not {one.answer.lower() for one in COMMON_TRAINED} & {one.answer.lower() for one in COMMON_PROBED}
    first_words = {one.question.split()[0] for one in COMMON_TRAINED}
    assert not first_words & {one.question.split()[0] for one in COMMON_PROBED}
    assert (len(PASSAGES), len(set(PASSAGES))) == (12, 12)
    assert (len(PASSAGES_TRAINED), len(PASSAGES_PROBED)) == (6, 6)
    assert all(60 <= len(text.split()) <= 100 for text in PASSAGES)
