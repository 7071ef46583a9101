"""Every probe keeps the promise of its role, over a tiny model."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError
from engramos.parametric.model import BaseModel
from engramos.parametric.probes import ROLE
from engramos.parametric.probes.base import Probe, Probed, Probing
from engramos.testing.probes import CHECKS, LESSON, check_probe, low_rank
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="tiny").base


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_probe_passes(name: str, check: Callable[[Probe, BaseModel], None], base: BaseModel) -> None:
    check(ROLE.make(name), base)


@pytest.mark.parametrize("architecture", ["qwen2", "gemma3"])
@pytest.mark.parametrize("name", ["canary", "locality", "recall"])
def test_a_probe_passes_on_other_architectures(name: str, architecture: str) -> None:
    model = tiny_model(architecture, num_layers=2)
    other = Transformers.of(model, tiny_tokenizer(), weights=architecture).base
    for check in CHECKS[2:6]:
        check(ROLE.make(name), other)


def test_each_metric_belongs_to_one_probe(base: BaseModel) -> None:
    probed = Probed(base, low_rank(base, 0.5), LESSON)
    names = [metric for name in ROLE.names() for metric in ROLE.make(name).run(probed).metrics]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.parametrize("name", ROLE.names())
def test_a_probe_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    probe = ROLE.make(name)
    for field in fields(probe):
        with pytest.raises(FrozenInstanceError):
            setattr(probe, field.name, getattr(probe, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@dataclass(frozen=True)
class Careless(Probe):
    """Breaks one promise."""

    wrong: str = ""

    def run(self, probed: Probed) -> Probing:
        facts = probed.lesson.facts
        if self.wrong == "draws":
            return Probing({"share": float(torch.rand(()))})
        if self.wrong == "holds":
            probed.base.hold(probed.adapter)
        if self.wrong == "writes":
            next(iter(probed.adapter.tensors().values())).mul_(2)
        if self.wrong == "tells" and facts:
            return Probing({"share": 0.5}, (f"not answered: {facts[0].answer}",))
        if self.wrong == "gated":
            return Probing({"share": float(probed.gate("x"))})
        if self.wrong == "counts":
            return Probing({"share": 0.0 if probed.base.held else float("nan")})
        if self.wrong == "names":
            return Probing({"Share of all": 0.5})
        if self.wrong == "fails":
            return Probing({"share": 0.5}, ("nothing was asked",))
        return Probing({"share": 0.5})


def test_a_probe_that_keeps_every_promise_passes(base: BaseModel) -> None:
    check_probe(Careless(), base)


@pytest.mark.parametrize("wrong", ["draws", "writes", "tells", "gated", "counts", "names", "fails"])
def test_a_broken_promise_is_seen(wrong: str, base: BaseModel) -> None:
    with pytest.raises(AssertionError):
        check_probe(Careless(wrong), base)


def test_a_probe_that_leaves_an_adapter_attached_is_seen() -> None:
    own = Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="own").base
    with pytest.raises(AssertionError):
        check_probe(Careless("holds"), own)
