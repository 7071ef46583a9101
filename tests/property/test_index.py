"""The search index, brought forward change by change, answers as one that is built anew from the same cubes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.postings import Postings
from engramos.plaintext.query import Query
from engramos.plaintext.rankers.linear import Linear
from engramos.plaintext.retrievers.dense import Dense
from engramos.plaintext.retrievers.lexical import Lexical
from engramos.plaintext.terms import pack, terms, unpack
from engramos.rows import IndexDelta, IndexRow
from engramos.testing.clock import START

WORDS = ("anchor", "basil", "copper", "dahlia", "ember", "falcon")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "change", "drop"]), st.integers(0, 30), TEXTS, st.sampled_from([None, "a", "b"])),
    min_size=1,
    max_size=60,
)


def row_of(number: int, version: int, text: str, session: str | None) -> IndexRow:
    """Return a row with a small vector that depends on the text."""
    counts = np.array([text.split().count(word) for word in WORDS], dtype=np.float32)
    vector = (counts / np.linalg.norm(counts)).astype("<f2").tobytes()
    times = (number, None, None, None)
    packed = pack(terms(text))
    return IndexRow(
        f"{number:026d}", version, None, session, number, "episode", *times, 1.0, None, "", packed, vector, number
    )


def built(rows: dict[int, IndexRow]) -> SearchIndex:
    """Return an index that starts from all rows at once, as after opening."""
    index = SearchIndex()
    index.apply(IndexDelta(1, True, tuple(rows[number] for number in sorted(rows))))
    return index


def driven(operations: list) -> tuple[SearchIndex, dict[int, IndexRow], dict[int, str]]:
    """Return an index after single changes, with what it must hold."""
    index, rows, texts = SearchIndex(), {}, {}
    index.apply(IndexDelta(1, True, ()))
    for seq, (kind, pick, text, session) in enumerate(operations, start=2):
        if kind == "add" or not rows:
            number = max(rows, default=0) + 1 + pick
            rows[number], texts[number] = row_of(number, 1, text, session), text
            index.apply(IndexDelta(seq, False, (rows[number],)))
            continue
        number = sorted(rows)[pick % len(rows)]
        if kind == "change":
            rows[number] = row_of(number, rows[number].version + 1, text, rows[number].session)
            texts[number] = text
            index.apply(IndexDelta(seq, False, (rows[number],)))
        else:
            gone = rows.pop(number)
            texts.pop(number)
            index.apply(IndexDelta(seq, False, (), (gone.cube_id,)))
    return index, rows, texts


def answers(index: SearchIndex, word: str, limit: int) -> list[str]:
    """Return the ids that words and vectors together find."""
    vector = np.array([float(one == word) for one in WORDS], dtype=np.float32)
    query = Query(word, dict(terms(word)), (word,), vector, START)
    found = {"lexical": Lexical().score(query, index, {}), "dense": Dense().score(query, index, {})}
    found = {name: scores for name, scores in found.items() if scores is not None}
    order = index.order if index.order is not None else np.arange(len(index))
    found = {name: scores[order] for name, scores in found.items()}
    ranked = Linear().rank(found, {"lexical": 1.0, "dense": 1.0}, index.alive[order], limit)
    return [index.ids[order[row]] for row in ranked.rows]


@settings(deadline=None, max_examples=150)
@given(OPERATIONS)
def test_a_driven_index_holds_what_a_new_one_holds(operations: list) -> None:
    index, rows, texts = driven(operations)
    fresh = built(rows)
    assert index.num_alive == len(rows) == fresh.num_alive
    assert {one: index.versions[at] for one, at in index.row_of.items()} == {
        one: fresh.versions[at] for one, at in fresh.row_of.items()
    }
    for word in WORDS:
        holders = {row.cube_id for number, row in rows.items() if word in texts[number].split()}
        assert set(answers(index, word, 1_000)) >= holders
        assert answers(index, word, 1_000) == answers(fresh, word, 1_000)
        assert answers(index, word, 3) == answers(fresh, word, 3)


@settings(deadline=None, max_examples=150)
@given(OPERATIONS)
def test_neighbours_are_the_turns_of_the_same_session_in_their_order(operations: list) -> None:
    index, rows, _ = driven(operations)

    def chains(one: SearchIndex) -> dict[str, tuple[str | None, str | None]]:
        named = [*one.ids, None]
        return {
            cube_id: (
                named[one.before[at]] if one.before[at] != NONE else None,
                named[one.after[at]] if one.after[at] != NONE else None,
            )
            for cube_id, at in one.row_of.items()
        }

    expected: dict[str, tuple[str | None, str | None]] = {}
    for session in (None, "a", "b"):
        turns = [row.cube_id for _, row in sorted(rows.items()) if row.session == session]
        for at, cube_id in enumerate(turns):
            around = (turns[at - 1] if at else None, turns[at + 1] if at + 1 < len(turns) else None)
            expected[cube_id] = (None, None) if session is None else around
    assert chains(built(rows)) == expected
    assert chains(index) == expected


@given(st.lists(TEXTS, max_size=40), st.integers(0, 40))
def test_postings_count_words_however_they_came(texts: list[str], at: int) -> None:
    packed = [pack(terms(text)) for text in texts]
    postings = Postings(packed[:at])
    for one in packed[at:]:
        postings.append(one)
    for word in WORDS:
        ((term, _),) = terms(word).items()
        rows, counts = postings.rows(term)
        expected = {row: text.split().count(word) for row, text in enumerate(texts) if word in text.split()}
        assert dict(zip(rows.tolist(), counts.tolist(), strict=True)) == expected
    assert postings.lengths[: len(texts)].tolist() == [len(text.split()) for text in texts]


@given(st.lists(st.text(max_size=80), max_size=20))
def test_packed_terms_come_back(texts: list[str]) -> None:
    found, counts, rows = unpack([pack(terms(text)) for text in texts])
    back: list[dict[int, float]] = [{} for _ in texts]
    for term, count, row in zip(found.tolist(), counts.tolist(), rows.tolist(), strict=True):
        back[row][term] = count
    assert back == [dict(terms(text)) for text in texts]
