"""Product-key memory: which slots are read, which are trained, whose they are; and recall by number of pairs."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, ModelError, UnsupportedError
from engramos.evals.parametric.mqar import IN_CONTEXT, measure, pairs_of
from engramos.parametric.adapter import starts_at
from engramos.parametric.adapters.product_keys import ProductKeys, drawn_keys
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import opening_of_a_turn, question
from engramos.parametric.writers._sparse_memory import SparseAdam, chosen, divergence, tf_idf
from engramos.parametric.writers.cartridge import Cartridge
from engramos.parametric.writers.memory_layer import MemoryLayer
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
TARGET = "model.layers.2.mlp"
FACTS = (
    Fact("Ana", "Where does Ana live?", "Oslo", ("Which is Ana's town?",)),
    Fact("Bo", "What is Bo's pet?", "cat"),
)
LESSON = Lesson(FACTS, retained=("The sun is up.", "A list can be sorted."), common=("What is two and two?",))


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


@pytest.fixture(scope="module")
def written(base: BaseModel) -> Written:
    return MemoryLayer(num_keys=32, num_reads=4).write(LESSON, base)


def memory(**changes: object) -> ProductKeys:
    """A memory of 4 times 4 slots of which three hold something."""
    source = torch.Generator().manual_seed(3)
    parts = {
        "slots": {"m": torch.tensor([2, 7, 11])},
        "values": {"m": torch.randn(3, 6, generator=source)},
        "means": {"m": torch.randn(5, generator=source)},
        "deviations": {"m": torch.rand(5, generator=source) + 0.5},
        "owners": {"m": torch.tensor([[True, False], [True, True], [False, True]])},
    }
    return ProductKeys(**parts | {"facts": ("one", "two"), "num_keys": 4, "num_reads": 3} | changes)


def by_hand(adapter: ProductKeys, token: torch.Tensor) -> torch.Tensor:
    """What a token reads: all slots scored one by one, in float64."""
    query = (token.double() - adapter.means["m"].double()) / adapter.deviations["m"].double()
    query = query / query.norm()
    keys = drawn_keys(adapter.key_seed, 4, 5).double()
    scores = torch.tensor([float(query @ keys[slot // 4] + query @ keys[4 + slot % 4]) for slot in range(16)])
    best = sorted(range(16), key=lambda slot: -scores[slot])[:3]
    total = sum(float(scores[slot].exp()) for slot in best)
    read = torch.zeros(6, dtype=torch.float64)
    for row, slot in enumerate(adapter.slots["m"].tolist()):
        if slot in best:
            read += float(scores[slot].exp()) / total * adapter.values["m"][row].double()
    return read


def test_a_token_reads_the_slots_with_the_best_scores_of_all() -> None:
    adapter = memory()
    source = torch.Generator().manual_seed(5)
    inputs, output = torch.randn(3, 9, 5, generator=source), torch.randn(3, 9, 6, generator=source)
    expected = [[by_hand(adapter, token) for token in row] for row in inputs]
    found = adapter.change("m", inputs, output)
    assert any(bool(one.any()) for row in expected for one in row)
    for row in range(3):
        for token in range(9):
            torch.testing.assert_close(found[row, token].double(), output[row, token] + expected[row][token])


def test_a_token_that_reads_only_empty_slots_is_left_bit_for_bit() -> None:
    source = torch.Generator().manual_seed(5)
    inputs, output = torch.randn(1, 40, 5, generator=source), torch.randn(1, 40, 6, generator=source)
    slot = int(memory().addresses("m", inputs)[0][0, 0, 0])
    parts = {"slots": torch.tensor([slot]), "values": torch.ones(1, 6), "owners": torch.ones(1, 2) > 0}
    adapter = memory(**{name: {"m": one} for name, one in parts.items()})
    reads = (adapter.addresses("m", inputs)[0] == slot).any(dim=-1)[0]
    found = adapter.change("m", inputs, output)
    assert 0 < int(reads.sum()) < 40
    assert torch.equal(found[0, ~reads], output[0, ~reads])
    assert not torch.equal(found[0, reads], output[0, reads])


def test_keys_are_signs_that_depend_on_the_seed_alone() -> None:
    keys = drawn_keys(1, 16, 48)
    assert set(keys.flatten().tolist()) == {-1.0, 1.0}
    assert abs(float(keys.mean())) < 0.1
    assert not torch.equal(keys, drawn_keys(2, 16, 48))
    first = hashlib.shake_256(b"product keys 1 16 48").digest(1)[0]
    assert keys[0, :8].tolist() == [1.0 if first >> place & 1 else -1.0 for place in range(8)]


def test_what_is_restored_acts_the_same() -> None:
    adapter = memory(invocation=(4, 5))
    again = ProductKeys.restored(adapter.tensors(), adapter.settings())
    assert again.digest == adapter.digest
    inputs, output = torch.randn(1, 4, 5), torch.zeros(1, 4, 6)
    assert torch.equal(again.change("m", inputs, output), adapter.change("m", inputs, output))
    assert adapter.digest != memory(invocation=(4, 5), key_seed=1).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": {"m": torch.tensor([2, 11, 7])}}, "rise"),
        ({"slots": {"m": torch.tensor([2, 7, 16])}}, "below 16"),
        ({"slots": {"m": torch.tensor([-1, 7, 11])}}, "rise"),
        ({"values": {"m": torch.zeros(2, 6)}}, "do not fit"),
        ({"owners": {"m": torch.zeros(3, 1, dtype=torch.bool)}}, "do not fit"),
        ({"deviations": {"m": torch.zeros(5)}}, "above 0"),
        ({"means": {"n": torch.zeros(5)}}, "of each module"),
        ({"num_reads": 5}, "reads"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        memory(**changes)


def test_a_setting_that_is_missing_is_named() -> None:
    settings = memory().settings()
    del settings["num_reads"]
    with pytest.raises(InvalidInputError, match="num_reads"):
        ProductKeys.restored(memory().tensors(), settings)


def test_slots_that_background_reads_are_chosen_last_by_both_scores() -> None:
    counts, busy = torch.tensor([4.0, 4.0, 0.0, 1.0]), torch.tensor([0.0, 9.0, 0.0, 0.0])
    for score in (tf_idf, divergence):
        found = score(counts, busy, 9)
        assert found[0] > found[3] > found[1]
        assert found[2] == 0.0
    expected = [4 / 9 * math.log(10), 4 / 9 * math.log(1), 0.0, 1 / 9 * math.log(10)]
    torch.testing.assert_close(tf_idf(counts, busy, 9), torch.tensor(expected))
    torch.testing.assert_close(tf_idf(counts, busy * 0, 0), counts / 9)
    assert chosen(counts, tf_idf(counts, busy, 9), 5).tolist() == [0, 3]
    assert chosen(counts, tf_idf(counts, busy, 9), 1).tolist() == [0]


def test_adam_on_some_rows_equals_adam_on_a_table_of_these_rows() -> None:
    source = torch.Generator().manual_seed(1)
    begun = torch.randn(6, 4, generator=source)
    ours, rows = begun.clone().requires_grad_(), torch.tensor([1, 4])
    theirs = begun[rows].clone().requires_grad_()
    sparse, dense = SparseAdam(ours, 0.1), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(3):
        gradient = torch.randn(6, 4, generator=source)
        ours.grad, theirs.grad = gradient.clone(), gradient[rows].clone()
        sparse.step(rows)
        dense.step()
    torch.testing.assert_close(ours[rows], theirs)
    assert torch.equal(ours[[0, 2, 3, 5]], begun[[0, 2, 3, 5]])


def test_facts_are_answered_and_the_base_model_is_left_as_it_was(base: BaseModel) -> None:
    before = base.digest()
    steps: list[int] = []
    made = MemoryLayer(num_keys=32, num_reads=4).write(LESSON, base, progress=steps.append)
    assert base.digest() == before
    assert steps
    assert steps[-1] == made.cost.steps
    assert made.report["least_probability"] > 0.5
    for fact in FACTS:
        for text in fact.questions:
            (answer,) = base.generate([question(base, text)], [made.adapter], max_tokens=8)
            assert base.text(answer) == fact.answer


def test_what_background_reads_most_is_not_trained(base: BaseModel, written: Written) -> None:
    guarded = written.adapter
    free = MemoryLayer(num_keys=32, num_reads=4).write(Lesson(FACTS), base).adapter
    prompt = question(base, LESSON.retained[0])
    active = torch.zeros(1, len(prompt), dtype=torch.bool)
    active[:, starts_at(guarded.invocation, prompt) :] = True
    moved = {}
    for name, adapter in (("none", None), ("guarded", guarded), ("free", free)):
        with torch.no_grad(), base.using(adapter, active):
            moved[name] = base.scores(base.run(base.embedded(torch.tensor([prompt]))))
    assert (moved["guarded"] - moved["none"]).norm() < (moved["free"] - moved["none"]).norm()


def test_the_same_seed_writes_the_same_memory(base: BaseModel, written: Written) -> None:
    again = MemoryLayer(num_keys=32, num_reads=4).write(LESSON, base)
    other = MemoryLayer(num_keys=32, num_reads=4).write(LESSON, base, seed=1)
    assert again.adapter.digest == written.adapter.digest
    assert other.adapter.digest != written.adapter.digest


def test_what_stands_before_the_last_turn_is_read_as_the_base_model_reads_it(base: BaseModel, written: Written) -> None:
    assert written.adapter.invocation == opening_of_a_turn(base) == tuple(base.tokens("<|user|>"))
    assert MemoryLayer(num_keys=32, keeps_context=False).write(LESSON, base).adapter.invocation == ()


def test_each_slot_knows_its_facts_and_goes_with_the_last_of_them(written: Written) -> None:
    adapter = written.adapter
    first, second = (adapter.slots_of(fact.id)[TARGET] for fact in FACTS)
    assert set(adapter.slots[TARGET].tolist()) == set(first.tolist()) | set(second.tolist())
    left = adapter.without({FACTS[0].id})
    assert left.facts == (FACTS[1].id,)
    assert left.slots[TARGET].tolist() == second.tolist()
    kept = torch.isin(adapter.slots[TARGET], second)
    assert torch.equal(left.values[TARGET], adapter.values[TARGET][kept])
    assert adapter.slots_of("nobody")[TARGET].numel() == 0
    assert adapter.without({fact.id for fact in FACTS}).slots[TARGET].numel() == 0


def test_a_step_changes_no_more_slots_than_allowed(base: BaseModel) -> None:
    made = MemoryLayer(num_keys=32, num_reads=4, most_slots=5, max_epochs=1, score="kl").write(LESSON, base)
    assert made.adapter.slots[TARGET].numel() == 5


def test_a_lesson_without_facts_is_refused(base: BaseModel) -> None:
    with pytest.raises(InvalidInputError, match="memory_layer"):
        MemoryLayer().write(Lesson(texts=("Some text.",)), base)


def test_a_step_far_too_large_is_a_named_error_or_ends_finite(base: BaseModel) -> None:
    with pytest.raises(ModelError, match="lower rate"):
        MemoryLayer(num_keys=32, rate=1e38, max_epochs=5).write(LESSON, base)


def test_a_model_without_such_modules_is_refused() -> None:
    model = tiny_model("llama")
    for layer in model.model.layers:
        layer.feed = layer.mlp
        layer._modules["mlp"], layer.forward = layer.mlp, layer.forward
    base = Transformers.of(model, tiny_tokenizer(), weights="other").base
    for layer in model.model.layers:
        del layer.mlp
    with pytest.raises(UnsupportedError, match="no module"):
        MemoryLayer().write(LESSON, base)


@pytest.mark.parametrize(
    "parameters",
    [
        {"depths": ()},
        {"depths": (1.0,)},
        {"num_keys": 1},
        {"num_reads": 0},
        {"num_keys": 8, "num_reads": 9},
        {"score": "idf"},
        {"rate": 0.0},
        {"stop": 1.0},
        {"most_slots": 0},
        {"max_epochs": 0},
        {"rows_a_step": 0},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(parameters)))):
        MemoryLayer(**parameters)


def test_pairs_are_distinct_and_those_of_fewer_begin_those_of_more() -> None:
    pairs = pairs_of(300, 4)
    assert len({pair.subject for pair in pairs}) == 300
    assert pairs_of(20, 4) == pairs[:20]
    assert pairs_of(20, 5) != pairs[:20]
    with pytest.raises(ConfigError, match="pairs"):
        pairs_of(0, 0)


def test_pairs_written_into_a_memory_are_recalled(base: BaseModel) -> None:
    writer = MemoryLayer(num_keys=64, num_reads=4)
    rows = measure(base, {"memory_layer": writer}, [1, 4], seed=2)
    assert [(row.writer, row.num_pairs) for row in rows] == [
        (IN_CONTEXT, 1),
        ("memory_layer", 1),
        (IN_CONTEXT, 4),
        ("memory_layer", 4),
    ]
    assert [row.accuracy for row in rows] == [0.0, 1.0, 0.0, 1.0]
    assert all(row.bytes_a_pair > 0 and row.seconds_a_pair > 0 for row in rows if row.writer == "memory_layer")


def test_a_writer_that_takes_no_facts_is_not_measured(base: BaseModel) -> None:
    class OfTexts(Cartridge):
        takes = frozenset({"texts"})

    with pytest.raises(ConfigError, match="of_texts"):
        measure(base, {"of_texts": OfTexts()}, [1])


def test_an_estimate_grows_with_the_facts(base: BaseModel) -> None:
    few, many = (MemoryLayer().estimate(Lesson(pairs_of(num, 0)), base) for num in (2, 20))
    assert 0 < few.cpu_s < many.cpu_s
    assert replace(few, cpu_s=0.0).num_bytes < many.num_bytes
