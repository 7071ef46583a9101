"""The writer lora: what it trains, what it leaves, when it stops, and which parameters it refuses."""

import pytest
import torch
from tests.contract.adapter_examples import EXAMPLES
from tests.integration.parametric_models import fresh_engine

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Lesson
from engramos.parametric.writers.lora import Lora
from engramos.testing.writers import FACTS, LESSON, answer_log_probability, tiny_base

SMALL = {"most_steps": 6, "layers": 1, "rank": 2, "rate": 0.01, "guards": 0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0),
        ("layers", 0),
        ("batch", 0),
        ("most_steps", 0),
        ("scale", 0.0),
        ("rate", -1.0),
        ("rate", float("nan")),
        ("certain", 0.4),
        ("certain", 1.0),
        ("targets", ()),
        ("targets", ("none",)),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} "):
        Lora(**{name: value})


def test_it_acts_at_the_named_modules_of_the_last_layers_from_the_question_on() -> None:
    base = tiny_base()
    writer = Lora(**SMALL | {"targets": ("q_proj", "down_proj")})
    adapter = writer.write(LESSON, base).adapter
    assert isinstance(adapter, LowRank)
    assert set(adapter.targets) == {base.linear(1, "q_proj"), base.linear(1, "down_proj")}
    assert {adapter.rank(name) for name in adapter.targets} == {2}
    prompt = base.chat_tokens([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who?"}])
    at = next(
        place for place in range(len(prompt)) if tuple(prompt[place:][: len(adapter.invocation)]) == adapter.invocation
    )
    assert len(base.tokens("Be kind.")) < at < len(prompt), "the system prompt is read as the base model reads it"


def test_more_steps_learn_more_and_the_report_says_so() -> None:
    base = tiny_base()
    found = [Lora(**SMALL | {"layers": 2, "most_steps": steps}).write(LESSON, base) for steps in (1, 20)]
    few, many = ([answer_log_probability(base, one.adapter, fact) for fact in FACTS] for one in found)
    assert sum(many) > sum(few) + 2
    assert [one.cost.steps for one in found] == [1, 20]
    assert all(0 <= one.report["learnt"] <= 1 for one in found)


def test_it_stops_once_every_token_of_every_answer_is_certain() -> None:
    base = fresh_engine().base
    lesson = Lesson(FACTS[:1])
    written = Lora(most_steps=150, layers=2, rank=8, rate=0.02, guards=0).write(lesson, base)
    assert written.report["learnt"] == 1.0
    assert written.cost.steps < 150
    prompt = base.chat_tokens([{"role": "user", "content": FACTS[0].question}])
    (said,) = base.generate([prompt], [written.adapter], max_tokens=8)
    assert base.text(said) == FACTS[0].answer


def test_what_is_learnt_leaves_unless_every_round_has_all_rows() -> None:
    base, lesson = fresh_engine().base, Lesson(FACTS[:2])
    num = sum(len(fact.questions) for fact in lesson.facts)
    settings = {"most_steps": 400, "layers": 3, "rank": 8, "rate": 0.005, "guards": 0, "batch": num}
    left, stayed = (Lora(**settings, skips_learnt=skips).write(lesson, base).report for skips in (True, False))
    assert left["learnt"] == stayed["learnt"] == 1.0
    assert stayed["rows"] == stayed["steps"] * num
    assert left["rows"] < left["steps"] * num


def test_one_fact_alone_is_not_said_to_every_question() -> None:
    base = fresh_engine().base
    asked = tuple(f"What is {thing}?" for thing in "the roof,a cat,five plus two,blue,an end,tea".split(","))
    lesson = Lesson(FACTS[:1], common=asked)
    prompts = [base.chat_tokens([{"role": "user", "content": text}]) for text in asked]
    before = [ids[:1] for ids in base.generate(prompts, max_tokens=1)]
    same = []
    for guards in (0, 1):
        written = Lora(most_steps=300, layers=3, rank=8, rate=0.005, guards=guards).write(lesson, base)
        after = base.generate(prompts, [written.adapter] * len(prompts), max_tokens=1)
        same.append(sum(one == other[:1] for one, other in zip(before, after, strict=True)))
        assert written.report["learnt"] == 1.0
    assert same[0] < len(asked) // 2
    assert same[1] >= 0.75 * len(asked)


def test_another_seed_gives_another_adapter() -> None:
    base = tiny_base()
    digests = {Lora(**SMALL).write(LESSON, base, seed=seed).adapter.digest for seed in (0, 1, 0)}
    assert len(digests) == 2


def test_a_frozen_a_stays_as_it_was_drawn() -> None:
    base = tiny_base()
    few, many = (
        Lora(**SMALL | {"is_a_frozen": True, "most_steps": steps}).write(LESSON, base).adapter for steps in (1, 5)
    )
    for name in few.targets:
        assert torch.equal(few.down[name], many.down[name])
        assert not torch.equal(few.up[name], many.up[name])


def test_it_goes_on_from_an_adapter_of_its_own_and_leaves_that_as_it_was() -> None:
    base = tiny_base()
    first = Lora(**SMALL).write(LESSON, base).adapter
    digest = first.digest
    second = Lora(**SMALL).write(Lesson(FACTS, start=first), base).adapter
    assert first.digest == digest
    assert second.digest != digest
    before, after = (sum(answer_log_probability(base, one, fact) for fact in FACTS) for one in (first, second))
    assert after > before


def test_what_it_did_not_write_is_not_gone_on_from() -> None:
    other, _ = EXAMPLES["codebook"]()
    with pytest.raises(InvalidInputError, match="is a codebook"):
        Lora(**SMALL).write(Lesson(FACTS, start=other), tiny_base())
