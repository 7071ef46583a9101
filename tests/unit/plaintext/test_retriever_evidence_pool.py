"""Rounds of search, each asking what the rounds before leave open."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of, scores_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.evidence_pool import EvidencePool

CHAIN = (
    "Nightfall was made by Orsolya Kemeny.",
    "Kemeny was born in Szeged.",
    "Szeged lies on the Tisza.",
    "Walnut bread.",
)
QUESTION = query_of("Which river flows where the maker of Nightfall comes from?")
FIRST = {"first": scores_of(1, 0, 0, 0)}


def pooled(**parameters: float) -> np.ndarray | None:
    """Return the pool from the first row."""
    index = index_of([row_of(at, text, kind="resource") for at, text in enumerate(CHAIN)])
    return EvidencePool(of=("first",), **parameters).score(QUESTION, index, FIRST)


def test_each_round_goes_one_hop_further() -> None:
    one, two = pooled(rounds=1), pooled(rounds=2)
    assert one is not None
    assert two is not None
    assert one[1] > 0
    assert one[2] == 0
    assert two[2] > 0
    assert one[3] == two[3] == 0


def test_the_row_that_led_on_stays_in_the_pool() -> None:
    found = pooled()
    assert found is not None
    assert found[0] == found.max() == 1


def test_a_question_that_the_first_row_covers_and_that_leads_nowhere_has_no_pool() -> None:
    index = index_of([row_of(0, "walnut bread", kind="resource"), row_of(1, "other things")])
    assert EvidencePool(of=("first",)).score(query_of("walnut bread"), index, {"first": scores_of(1, 0)}) is None


def test_words_of_the_question_that_are_missing_are_asked_again() -> None:
    index = index_of([row_of(0, "walnut bread", kind="resource"), row_of(1, "honey cake"), row_of(2, "salt")])
    first, question = {"first": scores_of(1, 0, 0)}, query_of("walnut honey")
    found = EvidencePool(of=("first",)).score(question, index, first)
    assert found is not None
    assert found[1] > 0
    assert EvidencePool(of=("first",), missing=0).score(question, index, first) is None


def test_turns_lead_nowhere_unless_they_are_asked_to() -> None:
    index = index_of([row_of(at, text, session="s") for at, text in enumerate(CHAIN)])
    assert EvidencePool(of=("first",)).score(QUESTION, index, FIRST) is None
    assert EvidencePool(of=("first",), passages_only=False).score(QUESTION, index, FIRST) is not None


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"starts": 0}, {"num_terms": 0}, {"most_share": 0}, {"missing": -1}, {"closeness": 2}, {"k1": -1}],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        EvidencePool(**wrong)
