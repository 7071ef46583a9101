"""Marks of texts, and the retrievers that read them."""

from pathlib import Path

import numpy as np
import pytest

from engramos import MemoryOS
from engramos.errors import ConfigError
from engramos.messages import Message
from engramos.plaintext.marks import ASKS, ASSISTANT, ORDERS, WISHES, marks_of, orders, wishes
from engramos.plaintext.plan import Plan, Step
from engramos.plaintext.retrievers.roles import Roles
from engramos.plaintext.retrievers.wishes import Wishes, asks_help

TALK = (
    Message("I can't stand crowded places.", role="user"),
    Message("The train to Porto leaves at nine.", role="user"),
    Message("I recommend the train to Porto, and a walk by the river.", role="assistant"),
    Message("The river was calm that day.", role="user"),
)


@pytest.mark.parametrize(
    "text",
    [
        "I prefer window seats.",
        "I really don't like loud music",
        "I'm allergic to nuts, so be careful.",
        "We only eat fish on Fridays",
        "My favourite colour is green",
    ],
)
def test_what_a_person_likes_needs_or_always_wants_is_a_wish(text: str) -> None:
    assert wishes(text)


@pytest.mark.parametrize(
    "text",
    [
        "Always answer in metric units.",
        "When I ask for code, use type hints.",
        "Thanks! Please never call me before nine.",
        "From now on, be brief",
    ],
)
def test_how_a_person_wants_to_be_answered_is_an_order(text: str) -> None:
    assert orders(text)
    assert ORDERS in marks_of(text, "user")


@pytest.mark.parametrize("text", ["The film was long.", "She moved to Lisbon in May.", "It rained.", "", "?" * 5_000])
def test_a_plain_statement_is_neither_wish_nor_order(text: str) -> None:
    assert not wishes(text)
    assert not orders(text)


def test_marks_say_who_spoke_and_how() -> None:
    assert marks_of("I prefer tea. Do you?", "user") == [ASKS, WISHES]
    assert marks_of("I prefer tea.", "assistant") == [ASSISTANT]
    assert marks_of("I prefer tea.", None) == []


def test_a_very_long_text_is_marked_in_no_time() -> None:
    assert marks_of("i do not really " * 60_000, "user") == []


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Which hotel would you recommend for me?", True),
        ("How should I plan my week? Any tips?", True),
        ("When did I go to Porto?", False),
        ("What did you recommend I do?", False),
        ("Summarise what we discussed", False),
    ],
)
def test_a_request_for_help_is_told_from_a_question_about_the_past(question: str, wanted: bool) -> None:
    assert asks_help(question) is wanted


def first(memory: MemoryOS, question: str, method: str, weight: float = 5.0) -> str:
    plan = Plan((Step("dense", "dense", 1.0), Step("extra", method, weight)))
    return memory.search(question, limit=1, plan=plan)[0].text


def test_a_question_about_the_assistants_words_finds_the_assistant_and_another_the_user(memory: MemoryOS) -> None:
    memory.add(TALK)
    plan = Plan((Step("lexical", "lexical", 1.0), Step("role", "roles", 2.0)))
    said = memory.search("What did you recommend about the train to Porto?", plan=plan)[0].cube
    assert said.payload.role == "assistant"
    assert memory.search("When does my train to Porto leave?", plan=plan)[0].cube.payload.role == "user"
    both = memory.search("What have we discussed about the train?", plan=plan)
    assert all("role" not in hit.parts for hit in both)


def test_roles_say_nothing_where_no_assistant_spoke(memory: MemoryOS) -> None:
    memory.add(TALK[:2])
    index = memory._parts.index(memory.scope)
    assert Roles().score(_query("the train"), index, {"lexical": np.ones(2, np.float32)}) is None


def test_who_asks_for_help_is_shown_what_they_wish_for(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add(TALK)
        assert first(memory, "Can you recommend places for my trip?", "wishes") == TALK[0].text
        assert first(memory, "When does the train to Porto leave?", "wishes") != TALK[0].text


def test_an_order_counts_whatever_is_asked(folder: Path) -> None:
    order = Message("Always give prices in euros when I ask about trips.", role="user")
    plan = Plan((Step("dense", "dense", 1.0), Step("order", "wishes", 5.0, {"kind": "order"})))
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add((*TALK, order))
        assert memory.search("When does the train to Porto leave?", limit=1, plan=plan)[0].text == order.text


def test_wishes_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="wish or order"):
        Wishes(kind="hope")


def _query(text: str):
    from engramos.clock import now
    from engramos.plaintext.query import Query

    return Query(text, {}, (), None, now())
