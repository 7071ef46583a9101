"""Every writer keeps the promise of its role."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any

import pytest
import torch

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.writers import ROLE
from engramos.parametric.writers.base import Writer
from engramos.parametric.writers.lora import Lora
from engramos.testing.writers import CHECKS, FACTS, check_writer

torch.set_num_threads(1)
PARAMETERS: dict[str, dict[str, object]] = {
    "cartridge": {"max_epochs": 4, "num_tokens": 8, "answer_tokens": 4},
    "distill": {"epochs": 8, "layers": 2, "rank": 4, "answer_tokens": 4, "learning_rate": 0.01},
    "lora": {"most_steps": 12, "layers": 2, "rank": 4, "rate": 0.01},
    "mega": {"most_steps": 12, "rate": 0.01},
    "memory_layer": {"max_epochs": 8, "num_keys": 16, "num_reads": 4},
    "soft_prompt": {"max_epochs": 8, "num_tokens": 8},
}
"""Others than the defaults: a few steps do for a tiny model."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_writer_passes(name: str, check: Callable[[Writer], None]) -> None:
    check(ROLE.make(name, **PARAMETERS.get(name, {})))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_writer_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    writer = ROLE.make(name)
    for field in fields(writer):
        with pytest.raises(FrozenInstanceError):
            setattr(writer, field.name, getattr(writer, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@pytest.mark.parametrize("name", ROLE.names())
def test_a_parameter_that_is_negative_is_refused_by_its_name(name: str) -> None:
    numbers = [field.name for field in fields(ROLE.load(name)) if field.type in (int, float, "int", "float")]
    for field in numbers:
        with pytest.raises(ConfigError, match=rf"\b{field} (is )?-1"):
            ROLE.make(name, **{field: -1})


@dataclass(frozen=True)
class Careless(Writer):
    """Writes, or breaks one promise."""

    wrong: str = ""

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        return Cost() if self.wrong == "estimate" else Lora().estimate(lesson, base)

    def write(self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Any = lambda step: None) -> Written:
        if self.wrong == "trusts" and not lesson.facts:
            lesson = Lesson(FACTS)
        steps = 1 if self.wrong == "idle" else 12
        writer = Lora(most_steps=steps, layers=2, rank=4, rate=1e-6 if self.wrong == "idle" else 0.01)
        tells = (lambda step: None) if self.wrong == "silent" else progress
        written = writer.write(lesson, base, seed=seed, progress=tells)
        adapter = written.adapter
        assert isinstance(adapter, LowRank)
        one = adapter.up[adapter.targets[0]]
        if self.wrong == "random":
            one.mul_(1 + 1e-3 * float(torch.rand(())))
        if self.wrong == "NaN":
            one[0, 0] = float("nan")
        if self.wrong == "asks":
            one.requires_grad_()
        if self.wrong == "holds":
            base.hold(adapter)
        if self.wrong == "writes":
            with changed_in_place(base) as weight:
                weight.mul_(1.01)
        return written


@contextmanager
def changed_in_place(base: BaseModel) -> Iterator[torch.Tensor]:
    with torch.no_grad():
        yield base.module(base.linear(0, "down_proj")).weight


def test_a_writer_that_keeps_every_promise_passes() -> None:
    check_writer(Careless())


@pytest.mark.parametrize("wrong", ["trusts", "estimate", "idle", "silent", "random", "NaN", "asks", "holds", "writes"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, InvalidInputError)):
        check_writer(Careless(wrong))
