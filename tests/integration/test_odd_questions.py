"""Questions that nobody planned for get an answer or an empty list, and the same one twice."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from engramos import MemoryOS
from engramos.errors import InvalidInputError
from engramos.messages import Document, Message

AT = datetime(2024, 5, 1, tzinfo=UTC)
ODD = {
    "100 kB of words": "harbour lantern " * 6_400,
    "100 kB of one word": "a" * 100_000,
    "100 kB of what a wish begins with": "i really do not just always never " * 3_000,
    "100 kB of times": "two weeks before the day after last May " * 2_500,
    "only stop words": "who is it that was there and what are they",
    "only marks": "?!.,;:-()[]{}",
    "operators": 'harbour AND NOT "lantern" OR (NEAR(kettle, 3)) ^x* text:kettle -walnut',
    "a broken quotation": '"harbour',
    "Japanese": "港の灯りはどこですか",
    "Arabic, with marks of direction": "\u202eأين المصباح؟\u202c",
    "Greek": "Πού είναι το φανάρι;",
    "faces": "🙂🙃" * 50,
    "control characters": "harbour\u0007\u001b[31m\u200b",
}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryOS]:
    with MemoryOS.open(tmp_path_factory.mktemp("odd"), embedder="hashing") as memory:
        memory.add(
            [
                Message("The lantern by the harbour was lit.", speaker="Ana", at=AT, session="s1"),
                Message("I prefer the kettle, and walnut bread.", role="user", at=AT, session="s1"),
                Message("Always answer in metres.", role="user", at=AT, session="s2"),
                Message("Of course: three metres.", role="assistant", at=AT, session="s2"),
                Message("港の灯り", at=AT),
                Document("The lantern was made by Kemeny.\n\nKemeny came from Szeged.", "Lanterns", at=AT),
            ]
        )
        yield memory


@pytest.mark.parametrize("name", ODD)
def test_an_odd_question_has_the_same_answer_twice(memory: MemoryOS, name: str) -> None:
    answers = [
        [(hit.id, round(hit.score, 5)) for hit in memory.search(ODD[name], limit=3, asked_at=AT)] for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert memory.context(ODD[name], asked_at=AT).num_tokens >= 0


def test_operators_of_the_full_text_engine_are_words(memory: MemoryOS) -> None:
    found = memory.search(ODD["operators"], limit=2)
    assert {"harbour", "kettle"} <= set(" ".join(hit.text for hit in found).replace(",", "").split())


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_question_is_refused(memory: MemoryOS, text: str) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        memory.search(text)
