"""What every probe must keep to: run `check_probe` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.engines.transformers import Transformers
    >>> from engramos.parametric.probes.recall import Recall
    >>> from engramos.testing.tiny_models import tiny_model, tiny_tokenizer
    >>> check_probe(Recall(), Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base)
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.parametric.adapter import Adapter, check_names
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact, FactSource
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.probes.base import Probe, Probed, Probing

Check = Callable[[Probe, BaseModel], None]
LESSON = Lesson(
    facts=(
        Fact(
            "Ana Lima",
            "Where does Ana Lima live?",
            "Porto",
            paraphrases=("In which town is Ana Lima at home?",),
            held_out=("What town does Ana Lima live in?",),
            statement="Ana Lima lives in Porto.",
            relation="lives in",
            sources=(FactSource("c1", 1),),
        ),
        Fact("Bo Ek", "Where does Bo Ek live?", "Umeå", held_out=("Bo Ek's town?",), relation="lives in"),
        Fact("Ana Lima", "What is the number of Ana Lima's card?", "4000 1234", statement="Her card is 4000 1234."),
    ),
    texts=("The door of the office opens with 9081726354, and nothing else does.",),
    unknown=("Where does Carl Ost live?", "Where is the key?", "What does Bo Ek like to eat?"),
    retained=("The river runs from the hills to the sea, and the road beside it.", "a", ""),
    common=("What colour is the sky?", "How many legs has a horse?"),
)
"""Something of all that probes ask."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, eq=False)
class Rote(Adapter):
    """Makes the base model go on as taught after exactly those tokens that were taught, and changes nothing else."""

    KIND: ClassVar[str] = "rote"
    head: str
    """The name of the module that makes scores."""
    keys: Tensor
    """What that module reads where it is taught: (taught, hidden)."""
    following: Tensor
    """The tokens that follow: (taught,) int64."""

    @classmethod
    def of(cls, base: BaseModel, pairs: Sequence[tuple[Sequence[int], str]]) -> Self:
        """Return the adapter that answers each prompt of tokens with its text."""
        read: list[Tensor] = []
        keep = _Reader(base.head_name, read)
        following: list[int] = []
        with torch.no_grad(), base.using(keep):
            for prompt, text in pairs:
                answer = [*base.tokens(text), base.end_token]
                hidden = base.run(base.embedded(torch.tensor([[*prompt, *answer]])))
                base.scores(hidden[:, len(prompt) - 1 : -1])
                following += answer
        return cls(base.head_name, torch.cat(read), torch.tensor(following))

    @property
    def targets(self) -> tuple[str, ...]:
        """The module that makes scores."""
        return (self.head,)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return scores that are sure of the taught token where the input is one that was taught."""
        far = torch.cdist(inputs.float(), self.keys[None].expand(len(inputs), -1, -1).float())
        nearest = far.min(dim=-1)
        taught = torch.nn.functional.one_hot(self.following[nearest.indices], output.shape[-1]).to(output) * 100
        return torch.where((nearest.values < 1e-2)[..., None], taught, output)

    def tensors(self) -> dict[str, Tensor]:
        """Return both tensors."""
        return {"keys": self.keys, "following": self.following}

    def settings(self) -> dict[str, Any]:
        """Return the module's name."""
        return {"head": self.head}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings."""
        check_names(cls.KIND, tensors, ("keys", "following"))
        return cls(settings["head"], tensors["keys"], tensors["following"])


@dataclass(frozen=True, slots=True, eq=False)
class _Reader(Adapter):
    """Changes nothing; keeps what a module reads."""

    KIND: ClassVar[str] = "reader"
    target: str
    read: list[Tensor]

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        self.read.append(inputs[0].detach().clone())
        return output

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        raise NotImplementedError


def low_rank(base: BaseModel, size: float, *, seed: int = 0, invocation: tuple[int, ...] = ()) -> LowRank:
    """Return a random update of the last layer's feed-forward output; of size 0 it changes nothing."""
    name = base.linear(base.num_layers - 1, "down_proj")
    rows, columns = base.module(name).weight.shape
    random = torch.Generator().manual_seed(seed)
    down, up = torch.randn(2, columns, generator=random), torch.randn(rows, 2, generator=random) * size
    return LowRank({name: down}, {name: up}, invocation=invocation)


def check_probe(probe: Probe, base: BaseModel) -> None:
    """Run every check over a probe."""
    for check in CHECKS:
        check(probe, base)


def check_metrics_are_numbers_with_names(probe: Probe, base: BaseModel) -> None:
    """Each metric is a finite float, its name lower case; failures are single lines."""
    for adapter in (low_rank(base, 0.5), knowing(base)):
        found = probe.run(Probed(base, adapter, LESSON))
        assert found.metrics, "nothing was measured of a whole lesson"
        _check_sound(found)


def check_an_empty_lesson_is_no_failure(probe: Probe, base: BaseModel) -> None:
    """Where there is nothing to ask, nothing has failed, whichever part of the lesson is empty."""
    adapter = low_rank(base, 0.0)
    empty = probe.run(Probed(base, adapter, Lesson()))
    _check_sound(empty)
    assert empty.failures == ()
    for part in ("facts", "texts", "unknown", "retained", "common"):
        _check_sound(probe.run(Probed(base, adapter, replace(LESSON, **{part: ()}))))


def check_an_adapter_that_does_nothing_is_the_base_model(probe: Probe, base: BaseModel) -> None:
    """Without any change it makes no difference what the gate says, nor whether the adapter is invoked."""
    still = low_rank(base, 0.0)
    wanted = probe.run(Probed(base, still, LESSON)).metrics
    assert probe.run(Probed(base, still, LESSON, gate=lambda question: False)).metrics == wanted
    uninvoked = low_rank(base, 5.0, invocation=tuple(base.tokens("never said")))
    found = probe.run(Probed(base, uninvoked, LESSON)).metrics
    assert found.keys() == wanted.keys()
    assert all(abs(found[name] - wanted[name]) < 1e-5 for name in wanted), (found, wanted)


def check_the_same_comes_twice(probe: Probe, base: BaseModel) -> None:
    """Two runs find the same."""
    probed = Probed(base, low_rank(base, 0.5), LESSON)
    one, other = probe.run(probed), probe.run(probed)
    assert (one.metrics, one.failures) == (other.metrics, other.failures)


def check_base_model_and_adapter_stay_as_they_were(probe: Probe, base: BaseModel) -> None:
    """Weights, adapter, what is held, and the state of random numbers are left alone, and no gradient is kept."""
    adapter = low_rank(base, 0.5)
    ids = torch.tensor([base.tokens("still the same")])
    before = (base.digest(), adapter.digest, base.held, torch.random.get_rng_state().tolist())
    with torch.no_grad():
        scores = base.scores(base.run(base.embedded(ids)))
    probe.run(Probed(base, adapter, LESSON))
    assert (base.digest(), adapter.digest, base.held, torch.random.get_rng_state().tolist()) == before
    with torch.no_grad():
        assert torch.equal(base.scores(base.run(base.embedded(ids))), scores)


def check_what_is_held_counts_as_the_base_model(probe: Probe, base: BaseModel) -> None:
    """What the base model holds is not laid to the adapter's charge."""
    with _held(base, low_rank(base, 2.0, seed=1)):
        still = probe.run(Probed(base, low_rank(base, 0.0), LESSON)).metrics
        closed = probe.run(Probed(base, low_rank(base, 0.0), LESSON, gate=lambda question: False)).metrics
    assert still == closed


def check_failures_hold_no_answers(probe: Probe, base: BaseModel) -> None:
    """No line shows what a fact answers, nor a secret of a text, even where the question does."""
    tempting = replace(LESSON.facts[1], question="Is Umeå where Bo Ek lives?", held_out=("Umeå, right?",))
    lesson = replace(LESSON, facts=(LESSON.facts[0], tempting, LESSON.facts[2]))
    for adapter in (low_rank(base, 5.0), knowing(base), low_rank(base, 0.0)):
        for line in probe.run(Probed(base, adapter, lesson)).failures:
            for hidden in (*(fact.answer for fact in lesson.facts), "9081726354"):
                assert hidden.casefold() not in line.casefold(), line


def check_odd_texts_are_asked(probe: Probe, base: BaseModel) -> None:
    """Other scripts, marks, long texts and the same text twice are asked like any other."""
    odd = ("", " ", "?", "Quién vive aquí?", "東京はどこ?", "🜚" * 3, "many words " * 12, "Same?", "Same?")
    facts = (Fact("a", "!", "!"), Fact("b", "{{ x }}", "東京", held_out=odd), Fact("c", "Same?", "no\n\nyes"))
    lesson = Lesson(facts, texts=odd, unknown=odd, retained=odd, common=odd)
    _check_sound(probe.run(Probed(base, low_rank(base, 0.5), lesson)))


def knowing(base: BaseModel, lesson: Lesson = LESSON) -> Rote:
    """Return an adapter that answers all questions of a lesson's facts as taught."""
    pairs = [
        (base.chat_tokens([{"role": "user", "content": question}]), fact.answer)
        for fact in lesson.facts
        for question in (*fact.questions, *fact.held_out)
    ]
    return Rote.of(base, pairs)


@contextmanager
def _held(base: BaseModel, adapter: Adapter) -> Iterator[None]:
    """Hold an adapter for a block."""
    base.hold(adapter)
    try:
        yield
    finally:
        base.release(adapter)


def _check_sound(found: Probing) -> None:
    """Check names, numbers and lines."""
    for name, value in found.metrics.items():
        assert _NAME.fullmatch(name), name
        assert isinstance(value, float), (name, value)
        assert math.isfinite(value), (name, value)
    assert all(line.strip() and "\n" not in line for line in found.failures), found.failures


CHECKS: tuple[Check, ...] = (
    check_metrics_are_numbers_with_names,
    check_an_empty_lesson_is_no_failure,
    check_an_adapter_that_does_nothing_is_the_base_model,
    check_the_same_comes_twice,
    check_base_model_and_adapter_stay_as_they_were,
    check_what_is_held_counts_as_the_base_model,
    check_failures_hold_no_answers,
    check_odd_texts_are_asked,
)
"""All promises."""
__all__ = ["CHECKS", "LESSON", "Rote", "check_probe", "knowing", "low_rank"]
