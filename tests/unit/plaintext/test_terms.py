"""Terms, passages, plans, retrievers and rankers, each by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.errors import ConfigError, UnknownMethodError
from engramos.plaintext.passages import passages
from engramos.plaintext.plan import DEFAULT, DENSE, LEXICAL, Plan, Step
from engramos.plaintext.rankers import ROLE as RANKERS
from engramos.plaintext.retrievers import ROLE as RETRIEVERS
from engramos.plaintext.terms import date_words, pack, terms, unpack


def test_forms_of_a_word_are_one_term_and_stop_words_none() -> None:
    assert terms("running runs run").keys() == terms("run").keys()
    assert terms("Zürich").keys() == terms("zurich").keys()
    assert terms("Ana's cat").keys() == terms("ana cat").keys()
    assert terms("the of and what") == {}
    assert terms("") == {}


def test_a_date_is_named_as_people_name_it() -> None:
    from datetime import UTC, datetime

    assert date_words(datetime(2023, 5, 8, tzinfo=UTC)) == "8 may 2023"
    assert date_words(None) == ""


def test_counts_stop_at_what_two_bytes_hold() -> None:
    _, counts, _ = unpack([pack(terms("word " * 70_000))])
    assert counts.tolist() == [65_535.0]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=4_000), st.booleans())
def test_passages_lose_no_word_and_are_never_too_long(text: str, is_markdown: bool) -> None:
    parts = passages(text, is_markdown=is_markdown, target_chars=80, most_chars=160)
    assert all(part.strip() for part in parts)
    assert max(map(len, parts), default=0) <= 160
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_markdown_is_cut_at_headings() -> None:
    text = "# One\n\nfirst part\n\n# Two\n\nsecond part"
    assert [part.split("\n")[0] for part in passages(text, is_markdown=True)] == ["# One", "# Two"]


def test_plans_name_known_methods_and_refuse_others() -> None:
    for plan in (DEFAULT, LEXICAL, DENSE):
        steps, ranker = plan.methods
        assert [step.name for step, _ in steps] == [step.name for step in plan.steps]
        assert ranker is not None
    with pytest.raises(ConfigError, match="share a name"):
        Plan((Step("a", "lexical", 1.0), Step("a", "dense", 1.0)))
    with pytest.raises(ConfigError, match="weight"):
        Step("a", "lexical", -1.0)
    with pytest.raises(UnknownMethodError):
        _ = Plan((Step("a", "telepathy", 1.0),)).methods
    with pytest.raises(ConfigError, match="parameter"):
        _ = Plan((Step("a", "lexical", 1.0, {"nothing": 1}),)).methods


@pytest.mark.parametrize("name", RETRIEVERS.names())
def test_every_retriever_can_be_made_without_parameters_and_is_frozen(name: str) -> None:
    method = RETRIEVERS.make(name)
    assert method == RETRIEVERS.make(name)
    assert hash(method) == hash(RETRIEVERS.make(name))


SCORES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30)


@pytest.mark.parametrize("name", RANKERS.names())
@given(scores=SCORES, seed=st.integers(0, 9), limit=st.integers(0, 40))
def test_every_ranker_returns_allowed_rows_best_first_within_the_limit(
    name: str, scores: list[float], seed: int, limit: int
) -> None:
    ranker = RANKERS.make(name)
    array = np.array(scores, dtype=np.float32)
    allowed = np.random.default_rng(seed).random(len(array)) < 0.7
    ranked = ranker.rank({"a": array}, {"a": 1.0}, allowed, limit)
    rows = ranked.rows.tolist()
    matches = [row for row in range(len(array)) if allowed[row] and array[row] > 0]
    assert rows == sorted(matches, key=lambda row: (-array[row], row))[:limit]
    assert ranked.scores.tolist() == sorted(ranked.scores.tolist(), reverse=True)
    assert all(len(part) == len(rows) for part in ranked.parts.values())


@pytest.mark.parametrize("name", RANKERS.names())
def test_a_ranker_of_nothing_gives_nothing(name: str) -> None:
    ranker = RANKERS.make(name)
    assert len(ranker.rank({}, {"a": 1.0}, np.ones(3, dtype=bool), 5).rows) == 0
    none_allowed = np.zeros(3, dtype=bool)
    assert len(ranker.rank({"a": np.ones(3, dtype=np.float32)}, {"a": 1.0}, none_allowed, 5).rows) == 0
