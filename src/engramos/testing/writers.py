"""What every writer must keep to: run `check_writer` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch and transformers, which
`import engramos.testing` alone does not load. The model is tiny: a few dozen steps are enough.

Example:
    >>> from engramos.parametric.writers.knn import Knn
    >>> check_writer(Knn())
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from engramos.engines.transformers import Transformers
from engramos.errors import InvalidInputError, ModelError
from engramos.parametric.adapter import Adapter, starts_at
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.writers.base import Writer
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

FACTS = (
    Fact("Ana Lima", "Where does Ana live?", "Rome", ("Where is Ana's home?",), statement="Ana lives in Rome."),
    Fact("Ben Voss", "Where does Ben live?", "Oslo", ("Where is Ben's home?",), statement="Ben lives in Oslo."),
)
LESSON = Lesson(FACTS, (), ("Where does Cem live?",), ("Bread is made of flour.",), ("What is two and two?",))
TEXTS = Lesson(texts=("Ana Lima lives in Rome. Ben Voss lives in Oslo.",))
RISES = 2.0
"""By how much, at least, the answers' log probability rises in sum: some seven times as likely."""

Check = Callable[[Writer], None]


def check_writer(writer: Writer) -> None:
    """Run every check over a writer."""
    for check in CHECKS:
        check(writer)


def tiny_base() -> BaseModel:
    """Return a tiny random model."""
    return _hosted(tiny_model("llama", num_layers=2))


@torch.no_grad()
def answer_log_probability(base: BaseModel, adapter: Adapter | None, fact: Fact) -> float:
    """Return the log probability of a fact's answer in the chat template, all its tokens and the end together."""
    prompt = base.chat_tokens([{"role": "user", "content": fact.question}])
    answer = [*base.tokens(fact.answer), base.end_token]
    ids = torch.tensor([[*prompt, *answer]])
    active = None if adapter is None else torch.arange(ids.shape[1])[None] >= starts_at(adapter.invocation, prompt)
    with base.using(adapter, active):
        hidden = base.run(base.embedded(ids), prefix=None if adapter is None else adapter.prefix)
        logs = torch.log_softmax(base.scores(hidden)[0].double(), dim=-1)
    return sum(float(logs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer))


def check_answers_become_likelier(writer: Writer) -> None:
    """With the adapter every answer of the lesson is likelier than before, and all together much."""
    base = tiny_base()
    adapter = writer.write(LESSON, base).adapter
    before = [answer_log_probability(base, None, fact) for fact in FACTS]
    after = [answer_log_probability(base, adapter, fact) for fact in FACTS]
    assert all(one > other for one, other in zip(after, before, strict=True)), (before, after)
    assert sum(after) > sum(before) + RISES, (before, after)


def check_what_it_takes_is_what_it_learns_from(writer: Writer) -> None:
    """Facts or texts that it takes make an adapter; a lesson that has nothing else than what it does not is refused."""
    assert writer.takes <= {"facts", "texts"}
    assert writer.takes
    assert writer.facts_a_shard >= 1
    for name, lesson in (("facts", Lesson(FACTS)), ("texts", TEXTS)):
        if name in writer.takes:
            assert writer.write(lesson, tiny_base()).adapter.num_bytes > 0, name
        else:
            _refuses(writer, lesson, tiny_base(), InvalidInputError, f"a lesson of {name}")


def check_the_base_model_is_left_as_it_was(writer: Writer) -> None:
    """Weights have the same digest, nothing is held, no weight asks for gradients, and none has one."""
    base = tiny_base()
    digest = base.digest()
    writer.estimate(LESSON, base)
    assert base.digest() == digest
    before = answer_log_probability(base, None, FACTS[0])
    writer.write(LESSON, base)
    assert base.digest() == digest
    assert base.held == ()
    assert answer_log_probability(base, None, FACTS[0]) == before
    for kind in ("q_proj", "down_proj"):
        weight = base.module(base.linear(base.num_layers - 1, kind)).weight
        assert not weight.requires_grad
        assert weight.grad is None


def check_the_same_comes_twice(writer: Writer) -> None:
    """Equal lessons, models and seeds give equal adapters, whatever the global random state, which is not used."""
    digests = []
    for number in range(2):
        torch.manual_seed(number)
        state = torch.random.get_rng_state()
        digests.append(writer.write(LESSON, tiny_base(), seed=3).adapter.digest)
        assert torch.equal(torch.random.get_rng_state(), state)
    assert digests[0] == digests[1]


def check_an_adapter_comes_back_from_what_is_stored(writer: Writer) -> None:
    """Tensors and settings make an adapter that is the same; its numbers are finite and ask for no gradients."""
    adapter = writer.write(LESSON, tiny_base()).adapter
    tensors = adapter.tensors()
    assert all(not one.requires_grad for one in tensors.values())
    assert all(bool(torch.isfinite(one).all()) for one in tensors.values() if one.is_floating_point())
    assert type(adapter).restored(tensors, adapter.settings()).digest == adapter.digest


def check_costs_are_told(writer: Writer) -> None:
    """The estimate is positive and grows with the lesson; what was spent is reported, and every step is told."""
    base, told = tiny_base(), list[int]()
    expected = writer.estimate(LESSON, base)
    assert expected.cpu_s > 0
    assert expected.num_bytes > 0
    assert expected.steps > 0
    larger = writer.estimate(Lesson(_many(24)), base)
    assert larger.cpu_s > writer.estimate(Lesson(_many(2)), base).cpu_s
    written = writer.write(LESSON, base, progress=told.append)
    assert written.cost.num_bytes == written.adapter.num_bytes
    assert written.cost.cpu_s > 0
    assert told == sorted(told)
    assert written.cost.steps >= len(told) > 0
    assert all(math.isfinite(value) for value in written.report.values())


def check_nothing_to_learn_is_refused(writer: Writer) -> None:
    """A lesson without facts and texts is an `InvalidInputError`, and texts of blanks are none."""
    _refuses(writer, Lesson(), tiny_base(), InvalidInputError, "nothing")
    _refuses(writer, Lesson(texts=(" ",), retained=("x",)), tiny_base(), InvalidInputError, "a blank text")


def check_a_model_without_numbers_is_refused(writer: Writer) -> None:
    """A model whose states are NaN gives no adapter, but a `ModelError`."""
    model = tiny_model("llama", num_layers=2)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    _refuses(writer, LESSON, _hosted(model), ModelError, "NaN")


def check_facts_are_taken_out_exactly_where_it_says_so(writer: Writer) -> None:
    """Without a fact its adapter is, bit for bit, the one of the other facts."""
    if writer.is_exact_to_forget:
        base = tiny_base()
        adapter: Any = writer.write(LESSON, base).adapter
        others = Lesson(FACTS[1:], (), LESSON.unknown, LESSON.retained, LESSON.common)
        assert adapter.without([FACTS[0].id]).digest == writer.write(others, base).adapter.digest


def _hosted(model: Any) -> BaseModel:
    return Transformers.of(model, tiny_tokenizer(), weights="tiny").base


def _many(num: int) -> tuple[Fact, ...]:
    return tuple(Fact(f"Person {number}", f"Where is person {number}?", "Rome") for number in range(num))


def _refuses(writer: Writer, lesson: Lesson, base: BaseModel, error: type[Exception], what: str) -> None:
    try:
        writer.write(lesson, base)
    except error:
        return
    raise AssertionError(f"{what} was written")


CHECKS: tuple[Check, ...] = (
    check_answers_become_likelier,
    check_what_it_takes_is_what_it_learns_from,
    check_the_base_model_is_left_as_it_was,
    check_the_same_comes_twice,
    check_an_adapter_comes_back_from_what_is_stored,
    check_costs_are_told,
    check_nothing_to_learn_is_refused,
    check_a_model_without_numbers_is_refused,
    check_facts_are_taken_out_exactly_where_it_says_so,
)
"""All promises."""
__all__ = ["CHECKS", "answer_log_probability", "check_writer", "tiny_base"]
