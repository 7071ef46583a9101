"""The steps of the default plan on a small conversation, where each must find what it is for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engramos.memory import MemoryOS
from engramos.messages import Message
from engramos.plaintext.plan import DEFAULT, HYBRID, Plan, Step

TALK = (
    ("Ana", "I adopted a grey kitten named Pixel."),
    ("Bo", "Where did you find the kitten?"),
    ("Ana", "At the shelter behind the railway station."),
    ("Bo", "My violin teacher moved to Oslo."),
    ("Ana", "Sounds like a long way."),
    ("Bo", "It is, and the rain there never ends."),
)


@pytest.fixture
def memory(tmp_path: Path):
    start = datetime(2023, 5, 8, tzinfo=UTC)
    with MemoryOS.open(tmp_path / "memory", embedder="hashing") as opened:
        opened.add(
            [
                Message(text, speaker=speaker, session=f"s{number // 3}", at=start + timedelta(days=number // 3))
                for number, (speaker, text) in enumerate(TALK)
            ]
        )
        yield opened


def found(memory: MemoryOS, question: str, *steps: Step) -> list[str]:
    return [hit.text for hit in memory.search(question, plan=Plan(steps))]


def test_a_window_finds_the_turns_beside_a_word_and_not_those_of_another_session(memory: MemoryOS) -> None:
    near = Step("near", "lexical", 1.0, {"window": 1})
    assert set(found(memory, "violin", near)) == {TALK[3][1], TALK[4][1]}
    assert set(found(memory, "violin", Step("own", "lexical", 1.0))) == {TALK[3][1]}


def test_a_forgotten_turn_no_longer_lends_its_words_to_its_neighbours(memory: MemoryOS) -> None:
    near = Step("near", "lexical", 1.0, {"window": 1})
    memory.forget(memory.search("violin teacher")[0].id, act="erase")
    assert found(memory, "violin", near) == []


def test_the_reply_to_a_question_like_the_one_asked_is_found(memory: MemoryOS) -> None:
    base, reply = Step("lexical", "lexical", 0.0), Step("reply", "replies", 1.0)
    assert found(memory, "Where did Ana find her kitten?", base, reply) == [TALK[2][1]]


def test_statements_come_before_questions_of_the_same_words(memory: MemoryOS) -> None:
    base = Step("lexical", "lexical", 1.0)
    only = Step("statement", "statements", 5.0, {"of": ("lexical",)})
    assert found(memory, "find the kitten", base)[0] == TALK[1][1]
    assert found(memory, "find the kitten", base, only)[0] == TALK[0][1]


def test_nothing_is_found_for_being_a_statement_alone(memory: MemoryOS) -> None:
    base = Step("lexical", "lexical", 1.0)
    assert found(memory, "zeppelin", base, Step("statement", "statements", 5.0, {"of": ("lexical",)})) == []


def test_a_session_lends_its_best_turn_to_all_of_its_turns(memory: MemoryOS) -> None:
    base, session = Step("lexical", "lexical", 0.0), Step("session", "sessions", 1.0)
    assert set(found(memory, "Oslo", base, session)) == {text for _, text in TALK[3:]}


def test_a_name_counts_less_among_the_words_where_told_so(memory: MemoryOS) -> None:
    plain = found(memory, "Ana Oslo", Step("lexical", "lexical", 1.0, {"speaker_weight": 0.0}))
    assert plain == [TALK[3][1]]
    assert len(found(memory, "Ana Oslo", Step("lexical", "lexical", 1.0))) == 4


def test_rank_fusion_finds_what_either_step_finds(memory: MemoryOS) -> None:
    assert memory.search("violin", plan=HYBRID)[0].text == TALK[3][1]


def test_the_same_question_gives_the_same_order_every_time(memory: MemoryOS) -> None:
    orders = {tuple(hit.id for hit in memory.search("Where is the teacher now?", plan=DEFAULT)) for _ in range(5)}
    assert len(orders) == 1
