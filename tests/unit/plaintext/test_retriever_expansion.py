"""What the first hits mention becomes a second query."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of, scores_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.expansion import Expansion

CHAIN = (
    "The film Nightfall was directed by Orsolya Kemeny.",
    "Orsolya Kemeny was born in Szeged.",
    "A recipe for bread with walnuts.",
    "The film Daybreak was shown in Paris.",
)


def test_the_second_hop_is_found_by_a_name_that_the_question_lacks() -> None:
    index = index_of([row_of(at, text) for at, text in enumerate(CHAIN)])
    scores = Expansion(of=("first",)).score(
        query_of("Where was the director of Nightfall born?"), index, {"first": scores_of(1, 0, 0, 0)}
    )
    assert scores is not None
    assert scores.argmax() == 1
    assert scores[2] == 0


def test_a_row_is_not_found_by_words_that_it_alone_brought_in() -> None:
    index = index_of([row_of(at, text) for at, text in enumerate(CHAIN)])
    scores = Expansion(of=("first",)).score(query_of("Nightfall"), index, {"first": scores_of(1, 0, 0, 0)})
    assert scores is not None
    assert scores[0] == pytest.approx(0, abs=1e-6)


def test_words_of_speakers_names_and_of_the_question_lead_nowhere() -> None:
    rows = [row_of(0, "Hello Melanie", speaker="Melanie"), row_of(1, "Melanie again", speaker="Melanie")]
    index = index_of(rows)
    assert Expansion(of=("first",)).score(query_of("hello"), index, {"first": scores_of(1, 0)}) is None
    no_speakers = index_of([row_of(0, "Hello Melanie"), row_of(1, "Melanie again")])
    assert Expansion(of=("first",)).score(query_of("melanie"), no_speakers, {"first": scores_of(1, 0)}) is None
    assert Expansion(of=("first",)).score(query_of("hello"), no_speakers, {"first": scores_of(1, 0)}) is not None


def test_words_that_many_rows_hold_are_not_looked_for() -> None:
    index = index_of([row_of(at, f"common unique{at}") for at in range(10)])
    first = {"first": np.eye(1, 10, dtype=np.float32)[0]}
    assert Expansion(of=("first",), most_share=0.3).score(query_of("what"), index, first) is None
    assert Expansion(of=("first",), most_share=1.0).score(query_of("what"), index, first) is not None


def test_rows_that_came_late_are_found_and_rows_that_are_gone_are_not() -> None:
    rows = [row_of(at, text) for at, text in enumerate(CHAIN)]
    late = row_of(4, "Kemeny studied in Budapest.")
    index = index_of(rows, [late], [rows[1].cube_id])
    scores = Expansion(of=("first",)).score(query_of("Nightfall"), index, {"first": scores_of(1, 0, 0, 0, 0)})
    assert scores is not None
    assert scores.argmax() == 4
    assert scores[1] == 0


@pytest.mark.parametrize(
    "wrong", [{"num_rows": 0}, {"num_terms": 0}, {"most_share": 0}, {"sharpness": -1}, {"k1": -1}, {"b": 2}]
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Expansion(**wrong)
