"""The datastore: rows that speak near their keys, and the writer that makes them."""

import math

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapters.datastore import Datastore
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.writers.knn import Knn, source_of
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

FIRST = Fact("Ana Lima", "What does Ana Lima keep?", "two geese", ("Which animals has Ana Lima?",))
SECOND = Fact("Bo Trent", "What does Bo Trent keep?", "a mule", statement="Bo Trent keeps a mule")
THIRD = Fact("Cy Orne", "Where does Cy Orne live?", "Velm", statement="In Velm lives Cy Orne")
LESSON = Lesson(
    (FIRST, SECOND, THIRD), ("The mill stands by the river.",), ("What does Di Fane keep?",), ("Snow fell.",)
)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    torch.set_num_threads(1)
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


def store(reaches=(1.0, 1.0, 1.0, 0.5), **settings) -> Datastore:
    keys = torch.tensor([[0.0, 0.0], [0.6, 0.0], [0.0, 0.8], [5.0, 5.0]])
    tokens, owners = torch.tensor([1, 2, 1, 3]), torch.tensor([0, 0, 1, 2])
    return Datastore("head", keys, tokens, torch.tensor(reaches), owners, ("a", "b", "c"), **settings)


def expected(state: list[float], scores: list[float], one: Datastore) -> list[float]:
    """What the formula of the class says, in plain loops."""
    near = []
    for key, token, reach in zip(one.keys.tolist(), one.tokens.tolist(), one.reaches.tolist(), strict=True):
        far = math.dist(key, state)
        if far <= reach:
            near.append((far, token))
    near = sorted(near)[: one.neighbours]
    if not near:
        return scores
    total = sum(math.exp(-far * far / one.temperature) for far, _ in near)
    model = sum(math.exp(score) for score in scores)
    mixed = []
    for token, score in enumerate(scores):
        said = sum(math.exp(-far * far / one.temperature) for far, other in near if other == token) / total
        mixed.append(math.log(one.share * said + (1 - one.share) * math.exp(score) / model))
    return mixed


@pytest.mark.parametrize("settings", [{}, {"share": 0.3, "temperature": 0.2}, {"neighbours": 2, "temperature": 0.5}])
def test_scores_are_the_mixture_that_the_formula_says(settings) -> None:
    one = store(**settings)
    states = [[0.1, 0.2], [0.5, 0.1], [5.1, 5.2], [9.0, 9.0], [0.0, 0.0]]
    scores = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(1))
    found = one.change("head", torch.tensor([states]), scores)
    wanted = [expected(state, row, one) for state, row in zip(states, scores[0].tolist(), strict=True)]
    torch.testing.assert_close(found[0], torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_scores_out_of_reach_stay_bit_for_bit() -> None:
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    states = torch.full((2, 3, 2), 9.0)
    assert store().change("head", states, scores) is scores
    states[1, 2] = 0.0
    found = store().change("head", states, scores)
    changed = (found != scores).any(dim=-1)
    assert changed.tolist() == [[False, False, False], [False, False, True]]


def test_a_row_speaks_up_to_its_own_reach_and_no_further() -> None:
    state = torch.tensor([5.0, 5.4])
    assert store().sources_of(state) == {"c": 1.0}
    assert store(reaches=(1.0, 1.0, 1.0, 0.3)).sources_of(state) == {}


def test_it_tells_which_facts_speak_and_how_much() -> None:
    found = store(temperature=1.0).sources_of(torch.tensor([0.1, 0.0]))
    weights = [math.exp(-0.01), math.exp(-0.25), math.exp(-0.65)]
    assert list(found) == ["a", "b"]
    assert found["a"] == pytest.approx((weights[0] + weights[1]) / sum(weights), rel=1e-5)


def test_a_source_that_is_not_in_it_cannot_be_taken_out() -> None:
    with pytest.raises(InvalidInputError, match="'z' is no source"):
        store().without(["z"])


def test_a_store_without_rows_changes_nothing() -> None:
    empty = store().without(["a", "b", "c"])
    scores = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(3))
    assert empty.change("head", torch.zeros(1, 1, 2), scores) is scores
    assert empty.sources_of(torch.zeros(2)) == {}
    assert Datastore.restored(empty.tensors(), empty.settings()).digest == empty.digest


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("owners", torch.tensor([0, 0, 1, 3])),
        ("owners", torch.tensor([0, 0, 1, 2], dtype=torch.int32)),
        ("tokens", torch.tensor([1, 2])),
        ("reaches", torch.ones(5)),
        ("keys", torch.zeros(4)),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, tensor: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError):
        Datastore.restored(store().tensors() | {name: tensor}, store().settings())


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"temperature": 0.0}, {"neighbours": 0}, {"sources": "abc"}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(InvalidInputError):
        Datastore.restored(store().tensors(), store().settings() | wrong)


@pytest.mark.parametrize("gone", [FIRST, SECOND, THIRD])
def test_a_fact_taken_out_leaves_the_store_as_if_it_had_never_been_written(base: BaseModel, gone: Fact) -> None:
    whole = Knn().write(LESSON, base).adapter
    rest = tuple(fact for fact in LESSON.facts if fact is not gone)
    alone = Knn().write(Lesson(rest, LESSON.texts, LESSON.unknown, LESSON.retained), base).adapter
    assert whole.without([gone.id]).digest == alone.digest
    assert whole.digest != alone.digest


def test_a_text_taken_out_leaves_the_store_as_if_it_had_never_been_written(base: BaseModel) -> None:
    whole = Knn().write(LESSON, base).adapter
    alone = Knn().write(Lesson(LESSON.facts, (), LESSON.unknown, LESSON.retained), base).adapter
    assert whole.without([source_of(LESSON.texts[0])]).digest == alone.digest


def test_stores_written_apart_join_to_the_store_written_together(base: BaseModel) -> None:
    one, other = (Knn().write(Lesson(facts), base).adapter for facts in ((FIRST,), (SECOND, THIRD)))
    assert one.joined(other).digest == Knn().write(Lesson((FIRST, SECOND, THIRD)), base).adapter.digest
    with pytest.raises(InvalidInputError, match="both datastores"):
        one.joined(one)
    with pytest.raises(InvalidInputError, match="different settings"):
        one.joined(Knn(share=0.5).write(Lesson((SECOND,)), base).adapter)


def test_what_was_written_is_answered_and_each_token_names_its_fact(base: BaseModel) -> None:
    digest = base.digest()
    adapter = Knn().write(LESSON, base).adapter
    for fact in LESSON.facts:
        for text in fact.questions:
            prompt = base.chat_tokens([{"role": "user", "content": text}])
            (found,) = base.generate([prompt], [adapter], max_tokens=16)
            assert base.text(found) == fact.answer
            states = base.run(base.embedded(torch.tensor([prompt])))[0, -1:]
            speaks = adapter.sources_of(base.module("model.norm")(states)[0])
            assert next(iter(speaks)) == fact.id
    assert base.digest() == digest


def test_a_statement_goes_on_with_its_answer(base: BaseModel) -> None:
    adapter = Knn().write(LESSON, base).adapter
    (found,) = base.generate([base.tokens(SECOND.cloze)], [adapter], max_tokens=7)
    assert base.text(found) == " a mule"


def test_no_row_reaches_what_must_not_be_answered(base: BaseModel) -> None:
    wide = Knn(slack=1e6, reach=1e6, stand_ins=())
    unknown, retained = "What does Ana Limb keep?", "Ana Lima keeps to herself."
    careless = wide.write(Lesson((FIRST,)), base).adapter
    careful = wide.write(Lesson((FIRST,), unknown=(unknown,), retained=(retained,)), base).adapter
    asked = base.chat_tokens([{"role": "user", "content": unknown}])
    for ids, start in ((asked, len(asked) - 1), (base.tokens(retained), 0)):
        hidden = base.run(base.embedded(torch.tensor([ids])))[:, start:]
        before = base.scores(hidden)
        with base.using(careless):
            assert not torch.equal(base.scores(hidden), before)
        with base.using(careful):
            assert torch.equal(base.scores(hidden)[:, : None if start else -1], before[:, : None if start else -1])


def test_a_fact_of_several_wordings_reaches_as_far_as_they_lie_apart(base: BaseModel) -> None:
    wide = {"reach": 1e6, "stand_ins": ()}
    adapter = Knn(slack=1.5, **wide).write(Lesson((FIRST,)), base).adapter
    num = len(base.tokens(FIRST.answer)) + 1
    apart = [math.dist(adapter.keys[n].tolist(), adapter.keys[n + num].tolist()) for n in range(num)]
    wanted = [1.5 * (apart[0] if n == 0 else max(apart)) for n in range(num)] * 2
    assert adapter.reaches.tolist() == pytest.approx(wanted, rel=1e-4)


def test_a_row_of_a_text_reaches_a_share_of_its_keys_length(base: BaseModel) -> None:
    adapter = Knn(reach=0.1).write(Lesson(texts=("The mill stands by the river.",)), base).adapter
    assert len(adapter.keys) == len(base.tokens("The mill stands by the river.")) - 1
    assert adapter.reaches.tolist() == pytest.approx(
        [0.1 * math.hypot(*key) for key in adapter.keys.tolist()], rel=1e-5
    )


def test_an_empty_lesson_is_refused(base: BaseModel) -> None:
    with pytest.raises(InvalidInputError, match="facts and texts"):
        Knn().write(Lesson(texts=("  ",), unknown=("Who?",)), base)


def test_facts_that_contradict_each_other_are_refused(base: BaseModel) -> None:
    with pytest.raises(InvalidInputError, match="two facts answer"):
        Knn().write(Lesson((FIRST, Fact(FIRST.subject, FIRST.question, "a crow"))), base)


def test_the_estimate_tells_the_bytes_that_are_written(base: BaseModel) -> None:
    lesson = Lesson((FIRST, SECOND), LESSON.texts)
    adapter = Knn().write(lesson, base).adapter
    assert Knn().estimate(lesson, base).num_bytes == pytest.approx(adapter.num_bytes, rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 1.0},
        {"caution": 1.1},
        {"temperature": 0},
        {"slack": -1},
        {"reach": 0},
        {"neighbours": 0},
        {"stand_ins": ("",)},
    ],
)
def test_parameters_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Knn(**wrong)
