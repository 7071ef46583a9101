"""Near duplicates: what is the same thing said again, and what only looks like it."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from reconciler_cubes import NOW, START, cube, cubes, run, superseded

from engramos.cube import CubeType, Retention
from engramos.errors import ConfigError

SAID = "Our garden has a walnut tree and two old benches."


def test_the_later_of_two_equal_texts_supersedes_the_earlier() -> None:
    assert superseded("near_duplicates", cubes(SAID, SAID)) == {0: 1}


def test_case_marks_and_spaces_make_no_difference() -> None:
    given_ = cubes("My sister keeps bees, on the roof", "my sister  keeps bees on the roof!")
    assert superseded("near_duplicates", given_) == {0: 1}


def test_of_three_copies_only_the_newest_stays() -> None:
    assert superseded("near_duplicates", cubes(SAID, SAID, SAID)) == {0: 1, 1: 2}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I have 2 dogs and a garden full of roses", "I have 3 dogs and a garden full of roses"),
        ("I have two dogs and a garden full of roses", "I have three dogs and a garden full of roses"),
        ("The council approved our garden plan", "The council never approved our garden plan"),
        ("The council did approve our garden plan", "The council didn't approve our garden plan"),
        ("The review of the budget is in May with everyone", "The review of the budget is in June with everyone"),
        ("We gave the old piano to Peter and his wife", "We gave the old piano to Paula and his wife"),
        ("Is the new budget ready for review?", "Is the new budget ready for review."),
        ("The dog chased the cat around our house", "The cat chased the dog around our house"),
        ("The old piano stands in our kitchen", "The old sofa stands in our kitchen"),
    ],
)
def test_what_differs_in_a_telling_word_is_no_duplicate(first: str, second: str) -> None:
    assert superseded("near_duplicates", cubes(first, second)) == {}


def test_another_speaker_says_it_for_themselves() -> None:
    assert superseded("near_duplicates", [cube(0, SAID, "Ana"), cube(1, SAID, "Ben")]) == {}


def test_another_type_or_label_is_no_duplicate() -> None:
    assert superseded("near_duplicates", [cube(0, SAID), cube(1, SAID, type=CubeType.FACT)]) == {}
    assert superseded("near_duplicates", [cube(0, SAID, labels=("home",)), cube(1, SAID)]) == {}


def test_short_remarks_are_left_where_they_are() -> None:
    assert superseded("near_duplicates", cubes("Thanks a lot!", "Thanks a lot!")) == {}


def test_a_word_that_depends_on_the_day_makes_duplicates_of_one_day_only() -> None:
    text = "I planted tomatoes behind the shed this morning"
    assert superseded("near_duplicates", [cube(0, text, day=0), cube(1, text, day=9)]) == {}
    assert superseded("near_duplicates", [cube(0, text, day=4), cube(1, text, day=4)]) == {0: 1}


def test_a_long_text_that_gained_a_few_words_supersedes_and_one_that_lost_some_does_not() -> None:
    long = " ".join(f"{'abcdefgh'[i % 8]}{'klmnopqr'[i // 8]}stone" for i in range(60))
    assert superseded("near_duplicates", cubes(long, f"{long} rivers")) == {0: 1}
    assert superseded("near_duplicates", cubes(f"{long} rivers", long)) == {}
    assert superseded("near_duplicates", cubes(long, f"{long} rivers"), similarity=1.0) == {}


def test_a_copy_that_is_trusted_less_or_kept_shorter_supersedes_nothing() -> None:
    assert superseded("near_duplicates", [cube(0, SAID), cube(1, SAID, trust=0.5)]) == {}
    ends = Retention(expires_at=NOW + timedelta(days=1))
    assert superseded("near_duplicates", [cube(0, SAID), cube(1, SAID, retention=ends)]) == {}
    assert superseded("near_duplicates", [cube(0, SAID, retention=ends), cube(1, SAID)]) == {0: 1}


def test_the_earlier_ends_where_the_later_begins() -> None:
    (older, newer) = run("near_duplicates", cubes(SAID, SAID)).changes
    assert older.cube.header.invalid_at == START + timedelta(days=1)
    assert [(edge.cube_id, edge.version) for edge in newer.cube.header.parents] == [("000000", 2)]
    assert newer.cube.header.invalid_at is None


@pytest.mark.parametrize("wrong", [{"similarity": 0.0}, {"similarity": 1.5}, {"num_words": 0}, {"num_content": 0}])
def test_a_parameter_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        run("near_duplicates", [], **wrong)


WORDS = st.sampled_from("amber birch cedar delta ember fjord grove heath inlet jetty".split())


@given(st.lists(st.lists(WORDS, min_size=3, max_size=24), min_size=2, max_size=8), st.sampled_from((0.5, 0.7, 0.9)))
def test_the_index_finds_what_comparing_all_pairs_finds(texts: list[list[str]], similarity: float) -> None:
    """The prefix filter loses no pair: checked against a plain comparison of every two texts."""

    def shingles(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}

    expected = set()
    for at, words in enumerate(texts):
        for later in texts[at + 1 :]:
            ours, theirs = shingles(words), shingles(later)
            is_near = len(ours & theirs) / len(ours | theirs) >= similarity
            if len(set(words)) >= 3 and (words == later or (is_near and set(words) <= set(later))):
                expected.add(at)
    found = superseded("near_duplicates", cubes(*map(" ".join, texts)), similarity=similarity)
    assert found.keys() == expected
