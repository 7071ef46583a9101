"""The window of the lexical step against a slow count by the definition."""

import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.lexical import Lexical
from engramos.plaintext.retrievers.neighbours import Neighbours
from engramos.plaintext.terms import pack, terms
from engramos.rows import IndexDelta, IndexRow

WORDS = ("apple", "river", "stone", "cloud")
TURN = st.tuples(st.integers(0, 2), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))


def row(number: int, session: int, text: str) -> IndexRow:
    known = {"cube_id": f"cube{number:03}", "session": f"s{session}", "position": number, "terms": pack(terms(text))}
    blank = dict.fromkeys(("agent", "valid_us", "invalid_us", "expires_us", "speaker", "vector"))
    return IndexRow(
        **blank, **known, version=1, type="episode", created_us=number, trust=1.0, labels="", cube_key=number
    )


def index_of(turns: list[tuple[int, list[str]]], gone: set[int]) -> SearchIndex:
    index = SearchIndex()
    rows = tuple(row(number, session, " ".join(words)) for number, (session, words) in enumerate(turns))
    index.apply(IndexDelta(1, True, rows))
    index.apply(IndexDelta(2, False, (), tuple(f"cube{number:03}" for number in gone)))
    return index


def slow(turns: list[tuple[int, list[str]]], gone: set[int], asked: list[str], method: Lexical) -> dict[int, float]:
    """Return the scores of the rows that are alive, by the definition."""
    alive = [number for number in range(len(turns)) if number not in gone]
    mean = sum(len(turns[number][1]) for number in alive) / len(alive)
    scores = dict.fromkeys(alive, 0.0)
    for word in asked:
        holders = sum(word in turns[number][1] for number in alive)
        if not holders:
            continue
        idf = math.log1p((len(alive) - holders + 0.5) / (holders + 0.5))
        for number in alive:
            session = [other for other in alive if turns[other][0] == turns[number][0]]
            place = session.index(number)
            count = sum(
                turns[other][1].count(word) * method.decay ** abs(at - place)
                for at, other in enumerate(session)
                if abs(at - place) <= method.window
            )
            norm = method.k1 * (1 - method.b + method.b * len(turns[number][1]) / mean)
            scores[number] += idf * (method.k1 + 1) * count / (count + norm)
    return scores


@given(st.lists(TURN, min_size=2, max_size=14), st.data(), st.integers(0, 3))
def test_windows_score_as_defined_also_after_a_turn_has_gone(turns: list, data: st.DataObject, window: int) -> None:
    gone = data.draw(st.sets(st.integers(0, len(turns) - 1), max_size=len(turns) - 1))
    method = Lexical(k1=0.8, b=0.4, window=window)
    index = index_of(turns, gone)
    question = " ".join(WORDS[:2])
    query = Query(question, dict(Counter(terms(question))), (), None, datetime(2024, 1, 1, tzinfo=UTC))
    scores = method.score(query, index, {})
    for number, expected in slow(turns, gone, list(WORDS[:2]), method).items():
        assert scores[number] == pytest.approx(expected, abs=1e-4)


def test_means_over_neighbours_repeat_the_ends_of_a_session() -> None:
    index = index_of([(0, ["apple"]), (0, ["river"]), (0, ["stone"]), (1, ["cloud"])], set())
    base = np.array([3.0, 6.0, 9.0, 5.0], dtype=np.float32)
    query = Query("x", {}, (), None, datetime(2024, 1, 1, tzinfo=UTC))
    means = Neighbours(of="base", window=1).score(query, index, {"base": base})
    assert means.tolist() == pytest.approx([(3 + 3 + 6) / 3, 6.0, (6 + 9 + 9) / 3, 5.0])
