"""Virtual tokens: what a prefix is, and what soft prompts and cartridges learn."""

import math

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.adapters.prefix import VirtualTokens
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel, Prefix
from engramos.parametric.rows import question
from engramos.parametric.writers._virtual import read_as_prefix, stored
from engramos.parametric.writers.cartridge import Cartridge
from engramos.parametric.writers.soft_prompt import SoftPrompt
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
FACTS = (Fact("Ana", "Where does Ana live?", "Oslo"), Fact("Bo", "What is Bo's pet?", "cat"))
PROMPT = SoftPrompt(num_tokens=16, rate=0.2)
CARTRIDGE = Cartridge(num_tokens=12, rate=0.1, max_epochs=80, depth=0.0)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


def read(base: BaseModel, ids: list[int], prefix: Prefix | None = None) -> torch.Tensor:
    with torch.no_grad():
        return base.scores(base.run(base.embedded(torch.tensor([ids])), prefix=prefix))[0]


def least(base: BaseModel, prefix: Prefix, fact: Fact) -> float:
    """The smallest probability of an answer's token, one token after the other."""
    ids, found = list(question(base, fact.question)), 1.0
    for token in (*base.tokens(fact.answer), base.end_token):
        scores = read(base, ids, prefix)[-1].double()
        found = min(found, float(scores[token].exp() / scores.exp().sum()))
        ids.append(token)
    return found


def tokens(layers: tuple[int, ...] = (0, 2), num: int = 3) -> VirtualTokens:
    source = torch.Generator().manual_seed(1)
    keys, values = ({layer: torch.randn(2, num, 16, generator=source) for layer in layers} for _ in range(2))
    return VirtualTokens(keys, values)


def test_a_prefix_targets_no_module_and_counts_its_tokens() -> None:
    adapter = tokens()
    assert adapter.targets == ()
    assert adapter.prefix.num_tokens == 3
    assert sorted(adapter.tensors()) == ["keys.0", "keys.2", "values.0", "values.2"]
    again = VirtualTokens.restored(adapter.tensors(), adapter.settings())
    assert again.digest == adapter.digest
    assert all(torch.equal(again.keys[layer], adapter.keys[layer]) for layer in (0, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys.0": torch.zeros(2, 4, 16)}, "1 or more tokens"),
        ({"values.2": torch.zeros(3, 3, 16)}, "do not fit"),
        ({"values.2": torch.zeros(2, 3, 16, dtype=torch.int64)}, "do not fit"),
        ({"values.2": torch.zeros(3, 16)}, "1 or more tokens"),
        ({"values.1": torch.zeros(2, 3, 16)}, "does not know"),
        ({"keys.1": torch.zeros(2, 3, 16)}, "lacks the tensor 'values.1'"),
        ({"keys.x": torch.zeros(2, 3, 16)}, "does not know"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        VirtualTokens.restored(tokens().tensors() | change, {})


def test_a_prefix_without_tensors_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one layer"):
        VirtualTokens.restored({}, {})


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
def test_embeddings_are_read_as_the_keys_and_values_of_their_tokens(architecture: str) -> None:
    base = Transformers.of(tiny_model(architecture), tiny_tokenizer(), weights=architecture).base
    ids = base.tokens("Hello you")
    made, wanted = read_as_prefix(base, base.embedded(torch.tensor([ids]))[0]), base.prefix_of(ids)
    assert made.num_tokens == wanted.num_tokens
    for layer in range(base.num_layers):
        torch.testing.assert_close(made.keys[layer], wanted.keys[layer])
        torch.testing.assert_close(made.values[layer], wanted.values[layer])


def test_a_soft_prompt_knows_its_facts_and_leaves_the_base_model(base: BaseModel) -> None:
    before = base.digest()
    made = PROMPT.write(Lesson(FACTS), base)
    assert base.digest() == before
    assert isinstance(made.adapter, VirtualTokens)
    assert made.adapter.prefix.num_tokens == 16
    found = [least(base, made.adapter.prefix, fact) for fact in FACTS]
    assert min(found) > 0.5
    assert min(least(base, base.prefix_of(base.tokens("Where do")), fact) for fact in FACTS) < 0.01


def test_a_soft_prompt_answers_through_the_engine(base: BaseModel) -> None:
    adapter = PROMPT.write(Lesson(FACTS), base).adapter
    prompts = [question(base, fact.question) for fact in FACTS]
    answers = base.generate(prompts, [adapter] * 2, max_tokens=8)
    assert [base.text(answer) for answer in answers] == [fact.answer for fact in FACTS]


def test_everyday_answers_are_trained_along(base: BaseModel) -> None:
    lesson = Lesson(FACTS, common=("What is two and two?",), unknown=("Who is Zed?",))
    plain, guarded = (
        writer.write(lesson, base) for writer in (SoftPrompt(16, max_epochs=20, most_guards=num) for num in (0, 8))
    )
    prompt = question(base, lesson.common[0])
    wanted = torch.log_softmax(read(base, list(prompt))[-1].double(), dim=-1)
    away = []
    for made in (plain, guarded):
        found = torch.log_softmax(read(base, list(prompt), made.adapter.prefix)[-1].double(), dim=-1)
        away.append(float((wanted.exp() * (wanted - found)).sum()))
    assert away[1] < away[0]


def test_a_cartridge_begins_with_the_text_and_keeps_its_first_token(base: BaseModel) -> None:
    lesson = Lesson(FACTS, texts=("Ana lives in Oslo. Bo's pet is a cat.",))
    adapter = Cartridge(num_tokens=12, max_epochs=1, depth=0.5).write(lesson, base).adapter
    begun = base.prefix_of(base.tokens(lesson.texts[0])[:12])
    for layer in range(base.num_layers):
        assert torch.equal(adapter.keys[layer][:, 0], begun.keys[layer][:, 0])
        assert torch.equal(adapter.values[layer][:, 0], begun.values[layer][:, 0])
        is_same = torch.equal(adapter.keys[layer][:, 1:], begun.keys[layer][:, 1:])
        assert is_same == (layer < 1)


def test_a_cartridge_learns_what_is_known_where_the_teacher_is_wrong(base: BaseModel) -> None:
    before = base.digest()
    made = CARTRIDGE.write(Lesson(FACTS), base)
    assert base.digest() == before
    assert made.report["teacher_right"] == 0.0
    assert made.report["same_answers"] == 1.0
    answers = base.generate([question(base, fact.question) for fact in FACTS], [made.adapter] * 2, max_tokens=8)
    assert [base.text(answer) for answer in answers] == [fact.answer for fact in FACTS]


def test_a_cartridge_learns_from_texts_alone(base: BaseModel) -> None:
    lesson = Lesson(texts=("The boat leaves the harbour at seven. It is back before the evening comes.",))
    short, long = (Cartridge(num_tokens=12, rate=0.1, max_epochs=num).write(lesson, base) for num in (1, 12))
    assert long.report["loss"] < short.report["loss"]
    assert long.cost.steps > short.cost.steps


def test_a_prefix_is_no_longer_than_its_text(base: BaseModel) -> None:
    lesson = Lesson((Fact("A", "A?", "b"),))
    adapter = Cartridge(num_tokens=64, max_epochs=1).write(lesson, base).adapter
    assert adapter.prefix.num_tokens == len(base.tokens("A? b"))


def test_checkpoints_change_no_gradient(base: BaseModel) -> None:
    for writer in (SoftPrompt, Cartridge):
        one, other = (
            writer(num_tokens=6, max_epochs=2, is_checkpointed=checkpointed).write(Lesson(FACTS), base).adapter
            for checkpointed in (False, True)
        )
        for name, tensor in one.tensors().items():
            torch.testing.assert_close(other.tensors()[name], tensor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("writer", [SoftPrompt(num_tokens=6, max_epochs=3), Cartridge(num_tokens=6, max_epochs=3)])
def test_the_same_seed_writes_the_same_prefix(base: BaseModel, writer: SoftPrompt | Cartridge) -> None:
    steps: list[int] = []
    one = writer.write(Lesson(FACTS), base, seed=3, progress=steps.append)
    assert one.adapter.digest == writer.write(Lesson(FACTS), base, seed=3).adapter.digest
    assert steps == list(range(1, one.cost.steps + 1))
    assert one.cost.num_bytes == one.adapter.num_bytes
    assert writer.estimate(Lesson(FACTS), base).cpu_s > 0


@pytest.mark.parametrize("writer", [SoftPrompt(), Cartridge()])
def test_a_lesson_with_nothing_to_learn_is_refused(base: BaseModel, writer: SoftPrompt | Cartridge) -> None:
    with pytest.raises(InvalidInputError, match="give 1 or more"):
        writer.write(Lesson(common=("What is two and two?",)), base)


def test_keys_that_are_not_finite_are_not_stored() -> None:
    adapter = tokens()
    adapter.keys[2][0, 1, 5] = math.nan
    with pytest.raises(ModelError, match="layer 2"):
        stored(adapter.prefix)


@pytest.mark.parametrize(
    ("writer", "name", "value"),
    [
        (SoftPrompt, "num_tokens", 0),
        (SoftPrompt, "num_tokens", 257),
        (SoftPrompt, "rate", 0.0),
        (SoftPrompt, "rate", math.nan),
        (SoftPrompt, "stop", 0.0),
        (SoftPrompt, "max_epochs", 0),
        (SoftPrompt, "rows_a_step", 0),
        (SoftPrompt, "most_guards", -1),
        (Cartridge, "num_tokens", 1),
        (Cartridge, "depth", 1.0),
        (Cartridge, "rate", 0.0),
        (Cartridge, "temperature", math.inf),
        (Cartridge, "max_epochs", 0),
        (Cartridge, "rows_a_step", 0),
        (Cartridge, "top_k", 0),
        (Cartridge, "note_tokens", 15),
        (Cartridge, "answer_tokens", 0),
        (Cartridge, "guards", -1.0),
    ],
)
def test_parameters_that_make_no_sense_are_refused(writer: type, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        writer(**{name: value})
