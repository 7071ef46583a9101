"""WISE's side memory and GRACE's codebook: what they change, what they leave, and how they are taken back."""

import math

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric._everyday import COMMON_PROBED, COMMON_TRAINED
from engramos.parametric.adapters.codebook import Codebook
from engramos.parametric.adapters.side_memory import SideMemory
from engramos.parametric.editors._values import Watch
from engramos.parametric.editors.base import Edit, Request
from engramos.parametric.editors.grace import Grace, source_of
from engramos.parametric.editors.wise import Wise
from engramos.parametric.model import BaseModel
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

FIRST = Request("The home of Ana Lima is", "Ana Lima", "Velm")
SECOND = Request("What does Bo Trent keep?", "Bo Trent", "mule", is_chat=True)
OTHERS = ("The home of Eve Lund is", "Rivers run to the sea and", "In 1905 the town")
GRACE = Grace(rate=0.3)
WISE = Wise(steps=120, rate=0.05, unrelated=OTHERS[1:], questions=())


@pytest.fixture(scope="module")
def base() -> BaseModel:
    torch.set_num_threads(1)
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


@pytest.fixture(scope="module")
def side(base: BaseModel) -> SideMemory:
    return WISE.edit([FIRST, SECOND], base)


@pytest.fixture(scope="module")
def book(base: BaseModel) -> Codebook:
    return GRACE.edit([FIRST, SECOND], base)


def answered(base: BaseModel, request: Request, adapter) -> str:
    chat = [{"role": "user", "content": request.prompt}]
    prompt = base.chat_tokens(chat) if request.is_chat else base.tokens(request.prompt)
    length = len(base.tokens(request.target)) + 1
    return base.text(base.generate([prompt], [adapter], max_tokens=length)[0]).strip()


@torch.no_grad()
def scores(base: BaseModel, text: str, adapter=None) -> torch.Tensor:
    with base.using(adapter):
        return base.scores(base.run(base.embedded(torch.tensor([base.tokens(text)]))))


@pytest.mark.parametrize("kind", ["side", "book"])
def test_both_edits_are_answered_in_their_own_form(base: BaseModel, kind: str, request) -> None:
    adapter = request.getfixturevalue(kind)
    for one in (FIRST, SECOND):
        assert answered(base, one, None) != one.target
        assert answered(base, one, adapter) == one.target


@pytest.mark.parametrize("kind", ["side", "book"])
def test_other_texts_are_answered_bit_for_bit_as_before(base: BaseModel, kind: str, request) -> None:
    adapter = request.getfixturevalue(kind)
    for text in OTHERS[1:]:
        assert torch.equal(scores(base, text, adapter), scores(base, text))


@pytest.mark.parametrize("kind", ["side", "book"])
def test_an_edit_undone_leaves_nothing_behind(base: BaseModel, kind: str, request) -> None:
    adapter, digest = request.getfixturevalue(kind), base.digest()
    before = scores(base, f"{FIRST.prompt} V")
    edit = Edit(adapter, (FIRST, SECOND))
    edit.apply(base)
    changed = scores(base, f"{FIRST.prompt} V")
    edit.undo(base)
    assert not torch.equal(changed, before)
    assert torch.equal(scores(base, f"{FIRST.prompt} V"), before)
    assert base.digest() == digest


@pytest.mark.parametrize("kind", ["side", "book"])
def test_what_is_stored_comes_back_the_same(kind: str, request) -> None:
    adapter = request.getfixturevalue(kind)
    assert type(adapter).restored(adapter.tensors(), adapter.settings()).digest == adapter.digest


@pytest.mark.parametrize("editor", [WISE, GRACE])
def test_requests_that_are_missing_or_contradict_each_other_are_refused(base: BaseModel, editor) -> None:
    with pytest.raises(InvalidInputError, match="nothing to edit"):
        editor.edit([], base)
    with pytest.raises(InvalidInputError, match="two edits"):
        editor.edit([FIRST, Request(FIRST.prompt, FIRST.subject, "Brenth")], base)


def test_a_later_edit_counts_what_the_model_holds(base: BaseModel, book: Codebook) -> None:
    third = Request("The boat of Cy Orne is named", "Cy Orne", "Kip")
    base.hold(book)
    try:
        later = GRACE.edit([third], base)
        base.hold(later)
        assert [answered(base, one, None) for one in (FIRST, third)] == [FIRST.target, third.target]
        base.release(later)
    finally:
        base.release(book)


def test_training_goes_on_until_the_nearest_answer_lies_a_gap_beyond_the_farthest_other_text(base: BaseModel) -> None:
    made = WISE.edit([FIRST], base)
    module, delta = base.module(made.target), made.delta().double()

    def lengths(text: str) -> tuple[list[float], list[float]]:
        """Return how long the module's output is after each token, and how far the side output lies from it."""
        watch = Watch((made.target,))
        with torch.no_grad(), base.using(watch):
            base.run(base.embedded(torch.tensor([base.tokens(text)])))
        read = watch.inputs[made.target][0].double()
        given = read @ module.weight.detach().double().T
        return [float(one.norm()) for one in given], [float((delta @ one).norm()) for one in read]

    asked = slice(len(base.tokens(FIRST.prompt)) - 1, -1)
    main, side = (one[asked] for one in lengths(f"{FIRST.prompt} {FIRST.target}"))
    farthest = max(far for text in WISE.unrelated for far in lengths(text)[1])
    assert min(side) - farthest >= 0.99 * WISE.gap * sum(main) / len(main)
    assert made.threshold == pytest.approx(WISE.ratio * min(side), rel=1e-3)


def test_what_guards_the_training_is_not_what_is_probed_later() -> None:
    assert not {one.question for one in COMMON_PROBED} & set(Wise().questions)
    assert {one.question for one in COMMON_TRAINED} <= set(Wise().questions)


def test_a_token_takes_the_side_output_only_over_the_threshold() -> None:
    places, differences = torch.tensor([0, 5]), torch.tensor([2.0, -1.0])
    side = SideMemory("m", places, differences, (2, 3), threshold=1.5)
    inputs = torch.tensor([[[1.0, 9.0, 0.0], [0.5, 9.0, 1.0], [0.0, 9.0, 2.0]]])
    output = torch.ones(1, 3, 2)
    # the steps are (2, 0), (1, -1) and (0, -2): of lengths 2, 1.41 and 2
    assert side.change("m", inputs, output).tolist() == [[[3.0, 1.0], [1.0, 1.0], [1.0, -1.0]]]
    assert side.delta().tolist() == [[2.0, 0.0, 0.0], [0.0, 0.0, -1.0]]


def test_a_side_memory_changes_no_more_weights_than_its_density(base: BaseModel, side: SideMemory) -> None:
    assert 0 < len(side.places) <= 0.25 * side.shape[0] * side.shape[1]
    assert bool((side.differences != 0).all())
    assert side.num_bytes == 12 * len(side.places)


def test_the_threshold_lies_under_every_token_of_the_answers(base: BaseModel, side: SideMemory) -> None:
    ids = base.tokens(f"{FIRST.prompt} {FIRST.target}")
    read = []
    handle = base.module(side.target).register_forward_hook(lambda module, given, output: read.append(given[0][0]))
    scores(base, f"{FIRST.prompt} {FIRST.target}")
    handle.remove()
    first = len(base.tokens(FIRST.prompt)) - 1
    delta = side.delta().double()
    lengths = [float((delta @ state.double()).norm()) for state in read[0][: len(ids) - 1]]
    assert min(lengths[first:]) > side.threshold > max(lengths[:first])


def test_the_seed_alone_chooses_the_weights(base: BaseModel) -> None:
    brief = Wise(steps=2)
    one, same, other = (brief.edit([FIRST], base, seed=seed) for seed in (1, 1, 2))
    assert one.digest == same.digest
    assert not torch.equal(one.places[:20], other.places[:20])


@pytest.mark.parametrize(
    ("tensors", "settings"),
    [
        ({"places": torch.tensor([5, 0])}, {}),
        ({"places": torch.tensor([0, 6])}, {}),
        ({"places": torch.tensor([0])}, {}),
        ({}, {"threshold": -1.0}),
        ({}, {"threshold": math.nan}),
    ],
)
def test_a_side_memory_that_does_not_fit_is_refused(tensors, settings) -> None:
    side = SideMemory("m", torch.tensor([0, 5]), torch.ones(2), (2, 3), 1.0)
    with pytest.raises(InvalidInputError):
        SideMemory.restored(side.tensors() | tensors, side.settings() | settings)


def small_book(keys, tokens, owners=None, sources=("a", "b", "c"), epsilon=0.1) -> Codebook:
    made = torch.tensor(keys)
    values = torch.arange(len(keys)).float()[:, None].expand(-1, 2) + 100
    numbers = list(range(len(keys))) if owners is None else owners
    return Codebook("layer", made, values, torch.tensor(tokens), torch.tensor(numbers), tuple(sources), epsilon)


def test_a_state_in_a_ball_becomes_the_value_of_the_nearest_key() -> None:
    book = small_book([[10.0, 0.0], [0.0, 10.0]], [1, 2], sources=("a", "b"))
    states = torch.tensor([[[10.0, 0.9], [10.0, 1.1], [0.2, 10.0]]])
    found = book.change("layer", states, torch.zeros(1, 3, 2))
    assert found.tolist() == [[[100.0, 100.0], [0.0, 0.0], [101.0, 101.0]]]


def test_balls_of_different_tokens_end_halfway_between_them() -> None:
    book = small_book([[10.0, 0.0], [10.0, 0.6], [0.0, 10.0]], [1, 2, 3])
    assert book.radii.tolist() == pytest.approx([0.3, 0.3, 1.0], abs=1e-5)


def test_balls_of_one_token_that_touch_grow_to_each_other() -> None:
    book = small_book([[10.0, 0.0], [10.0, 1.8], [0.0, 10.0]], [7, 7, 7])
    assert book.radii.tolist() == pytest.approx([1.8, 1.8, 1.0], abs=1e-5)


def test_an_entry_taken_out_gives_back_the_balls_that_it_cut() -> None:
    book = small_book([[10.0, 0.0], [10.0, 0.6], [0.0, 10.0]], [1, 2, 3])
    left = book.without(["b"])
    alone = small_book([[10.0, 0.0], [0.0, 10.0]], [1, 3], sources=("a", "c"))
    assert left.radii.tolist() == alone.radii.tolist() == pytest.approx([1.0, 1.0])
    assert left.sources == ("a", "c")
    with pytest.raises(InvalidInputError, match="'z' is no source"):
        book.without(["z"])


def test_a_request_taken_out_leaves_the_codebook_as_if_it_had_never_been_edited(
    base: BaseModel, book: Codebook
) -> None:
    left = book.without([source_of(FIRST)])
    assert left.digest == GRACE.edit([SECOND], base).digest
    assert answered(base, SECOND, left) == SECOND.target
    assert answered(base, FIRST, left) == answered(base, FIRST, None)
    assert len(book.without(book.sources).keys) == 0


def test_an_entry_is_made_for_each_token_of_an_answer(base: BaseModel, book: Codebook) -> None:
    wanted = [*base.tokens(" Velm"), *base.tokens("mule"), base.end_token]
    assert book.tokens.tolist() == wanted
    assert book.owners.tolist() == [0] * 5 + [1] * 5


def test_a_codebook_whose_tensors_do_not_fit_is_refused(book: Codebook) -> None:
    for name in ("keys", "values", "tokens"):
        with pytest.raises(InvalidInputError, match=name):
            Codebook.restored(book.tensors() | {name: book.tensors()[name][:-1]}, book.settings())
    with pytest.raises(InvalidInputError, match="belongs to none"):
        Codebook.restored(book.tensors(), book.settings() | {"sources": ["a"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 1.5},
        {"density": 0},
        {"steps": 0},
        {"rate": 0},
        {"outside": -1},
        {"inside": 0.2},
        {"gap": -1},
        {"ratio": 2},
        {"enough": 1},
    ],
)
def test_parameters_of_wise_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Wise(**wrong)


@pytest.mark.parametrize("wrong", [{"depth": -1}, {"epsilon": -1}, {"steps": 0}, {"rate": 0}, {"enough": 0}])
def test_parameters_of_grace_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Grace(**wrong)
