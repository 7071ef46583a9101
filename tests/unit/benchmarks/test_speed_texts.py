"""The texts and vectors that speed is measured with are the same in every run."""

from itertools import islice, pairwise

import numpy as np
from benchmarks.speed.texts import TURNS_A_SESSION, conversation, questions
from benchmarks.speed.vectors import asked, vectors


def test_a_seed_gives_the_same_turns_and_another_seed_gives_others() -> None:
    assert list(conversation(7, 50)) == list(conversation(7, 50))
    assert [turn.text for turn in conversation(7, 50)] != [turn.text for turn in conversation(8, 50)]


def test_turns_stand_in_sessions_of_twenty_with_rising_times() -> None:
    turns = list(conversation(7, 60))
    assert [len({turn.session for turn in turns[at : at + TURNS_A_SESSION]}) for at in (0, 20, 40)] == [1, 1, 1]
    assert len({turn.session for turn in turns}) == 3
    assert all(one.at < other.at for one, other in pairwise(turns))


def test_different_words_grow_as_they_do_in_real_conversations() -> None:
    words = [word for turn in islice(conversation(7, 1_000), 1_000) for word in turn.text.lower().rstrip(".").split()]
    # LoCoMo has 2,238 different ones among its first 24,571
    assert 1_800 < len(set(words[:20_000])) < 3_000


def test_questions_ask_with_words_of_the_turn_that_they_are_about() -> None:
    turns = list(conversation(7, 200))
    made = questions(7, turns, 30)
    assert made == questions(7, turns, 30)
    shared = [set(text.lower().rstrip("?").split()) & set(turns[about].text.lower().split()) for text, about in made]
    assert sum(map(bool, shared)) >= 28


def test_a_seed_gives_the_same_unit_vectors_whatever_their_number() -> None:
    rows = vectors(7, 1_500)
    assert rows.shape == (1_500, 384)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(rows, vectors(7, 1_500))
    assert np.array_equal(rows[:1_000], vectors(7, 1_000))
    assert not np.array_equal(rows[:10], vectors(8, 10))


def test_a_question_is_nearest_to_the_row_that_it_is_about() -> None:
    rows = vectors(7, 300)
    about = [3, 77, 299]
    assert (rows @ asked(7, rows, about).T).argmax(axis=0).tolist() == about
