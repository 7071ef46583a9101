"""Names in the question, in rows and as speakers."""

import numpy as np
import pytest
from tests.unit.plaintext.small_index import index_of, query_of, row_of

from engramos.errors import ConfigError
from engramos.plaintext.retrievers.entities import Entities


def scored(question: str, *texts: str, **parameters: float) -> np.ndarray | None:
    """Return the scores of these texts."""
    index = index_of([row_of(at, text) for at, text in enumerate(texts)])
    return Entities(**parameters).score(query_of(question), index, {})


def test_a_row_that_covers_two_names_stands_above_rows_that_cover_one() -> None:
    scores = scored(
        "Did Anna meet Boris?", "anna was here", "boris was here", "anna saw boris", "nobody came", most_share=0
    )
    assert scores is not None
    assert scores[2] == pytest.approx(1)
    assert 0 < scores[0] < 0.5
    assert scores[3] == 0


def test_words_of_one_name_are_one_facet() -> None:
    scores = scored("Has anyone seen New Zealand or Peru?", "new", "new zealand", "peru", "rain", most_share=0)
    assert scores is not None
    assert scores[1] > scores[0] > 0


def test_a_capital_letter_at_the_start_of_a_sentence_makes_no_name() -> None:
    texts = ("bake bread", "bake cake", "bake pies")
    assert scored("Bake it. Bake all.", *texts, most_share=0) is None
    assert scored("can Bake it", *texts, most_share=0) is not None


def test_rare_words_are_names_without_a_capital_letter() -> None:
    texts = ("the pottery class", "rain", "wind", "snow")
    assert scored("what about pottery", *texts, most_share=0.25) is not None
    assert scored("what about sculpture", *texts, most_share=0.25) is None


def test_a_named_speaker_counts_and_so_does_the_turn_beside() -> None:
    rows = [
        row_of(0, "good day", session="s", speaker="Ann Lee"),
        row_of(1, "Vienna is lovely", session="s", speaker="Bob"),
        row_of(2, "it is", session="s", speaker="Bob"),
        row_of(3, "bye", session="t", speaker="Bob"),
    ]
    scores = Entities(power=1, beside=0.5, speaking=0.7, most_share=0).score(
        query_of("where did Ann go"), index_of(rows), {}
    )
    assert scores == pytest.approx([0.7, 0.35, 0, 0])


@pytest.mark.parametrize("wrong", [{"power": 0}, {"most_share": 2}, {"beside": -1}, {"speaking": 2}])
def test_parameters_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Entities(**wrong)
