"""Every kind of adapter keeps the promise of its role."""

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, Self

import pytest
import torch
from tests.contract.adapter_examples import EXAMPLES
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, check_names
from engramos.parametric.adapters import ROLE
from engramos.testing.adapters import CHECKS, check_adapter, signals

torch.set_num_threads(1)
NAMES = ROLE.names()
BROKEN_PROMISES: dict[tuple[str, str], str] = {}
"""Known faults: take a line out once its fault is mended."""


def test_every_kind_has_an_example() -> None:
    assert sorted(EXAMPLES) == list(NAMES)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_adapter_passes(name: str, check: Callable[..., None], request: pytest.FixtureRequest) -> None:
    if (name, check.__name__) in BROKEN_PROMISES:
        request.applymarker(pytest.mark.xfail(reason=BROKEN_PROMISES[name, check.__name__], strict=True))
    check(*EXAMPLES[name]())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_acts_where_it_is_attached(name: str) -> None:
    adapter, shapes = EXAMPLES[name]()
    for target, shape in shapes.items():
        inputs, output = signals(*shape, num_tokens=40)
        if name in ("codebook", "datastore"):
            # they act near their keys alone
            inputs[0, 0] = adapter.keys[0]
        assert not torch.equal(adapter.change(target, inputs, output), output)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_adapter_is_frozen(name: str) -> None:
    adapter, _ = EXAMPLES[name]()
    for field in fields(adapter):
        with pytest.raises(FrozenInstanceError):
            setattr(adapter, field.name, getattr(adapter, field.name))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_kinds_have_digests_of_their_own(name: str) -> None:
    adapter, _ = EXAMPLES[name]()
    others = {EXAMPLES[other]()[0].digest for other in EXAMPLES if other != name}
    assert adapter.digest not in others


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"prefix"}))
def test_a_setting_that_is_missing_unknown_or_something_else_is_refused(name: str) -> None:
    adapter, _ = EXAMPLES[name]()
    tensors, settings = adapter.tensors(), adapter.settings()
    own = sorted(settings.keys() - {"invocation"})
    lies = [{key: settings[key] for key in settings if key != one} for one in own]
    lies += [settings | {one: wrong} for one in own for wrong in (None, True, {"a": 1}, b"x")]
    lies += [settings | {"colour": "red"}, settings | {"invocation": 3}, settings | {"invocation": ["3"]}]
    for lie in lies:
        with pytest.raises(InvalidInputError):
            type(adapter).restored(tensors, lie)


def test_a_refused_setting_is_named() -> None:
    adapter, _ = EXAMPLES["datastore"]()
    for lie, said in (
        ({**adapter.settings(), "colour": "red"}, "does not know the setting 'colour'"),
        ({**adapter.settings(), "neighbours": 2.5}, "'neighbours' of an adapter of kind datastore is float, where int"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            type(adapter).restored(adapter.tensors(), lie)


def test_a_side_memory_of_a_module_that_no_model_has_is_refused_before_it_is_laid_out() -> None:
    adapter, _ = EXAMPLES["side_memory"]()
    for shape in ([2**20, 2**20], [2**60, 1], [0, 8], [-6, -8], [6, 8, 1], [6.0, 8.0], ["6", "8"]):
        with pytest.raises(InvalidInputError):
            type(adapter).restored(adapter.tensors(), adapter.settings() | {"shape": shape})


def test_a_codebook_of_too_many_entries_is_refused_before_their_distances_are_laid_out() -> None:
    adapter, _ = EXAMPLES["codebook"]()
    many = {name: one[:1].expand(2**20, *one.shape[1:]) for name, one in adapter.tensors().items()}
    with pytest.raises(InvalidInputError, match="1048576 entries"):
        type(adapter).restored(many, adapter.settings())


def test_a_low_rank_adapter_of_integers_or_of_an_endless_scale_is_refused() -> None:
    adapter, _ = EXAMPLES["low_rank"]()
    whole = {name: one.round().long() for name, one in adapter.tensors().items()}
    with pytest.raises(InvalidInputError, match="int64"):
        type(adapter).restored(whole, adapter.settings())
    for scale in (float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="scale"):
            type(adapter).restored(adapter.tensors(), adapter.settings() | {"scale": scale})


def test_a_low_rank_adapter_adds_what_its_formula_says_and_learns() -> None:
    adapter, shapes = EXAMPLES["low_rank"]()
    for target, shape in shapes.items():
        inputs, output = signals(*shape)
        down, up = adapter.down[target].double(), adapter.up[target].double()
        wanted = output.double() + 0.7 * inputs.double() @ down.T @ up.T
        assert torch.allclose(adapter.change(target, inputs, output).double(), wanted, atol=1e-5)
        down, up = (one[target].clone().requires_grad_() for one in (adapter.down, adapter.up))
        trained = type(adapter)({target: down}, {target: up}, 0.7)
        trained.change(target, inputs, output).square().sum().backward()
        assert float(down.grad.abs().max()) > 0
        assert float(up.grad.abs().max()) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Careless(Adapter):
    """Breaks one promise."""

    KIND: ClassVar[str] = "test_adapters"
    weight: Tensor
    wrong: str = ""
    at: str = "one"

    @property
    def targets(self) -> tuple[str, ...]:
        return ("one", "one") if self.wrong == "twice" else ("one",)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        if self.wrong == "writes the output":
            output.data.add_(1)
        if self.wrong == "writes the inputs":
            inputs.data.add_(1)
        if self.wrong == "writes itself":
            self.weight.add_(1)
        found = output + inputs @ self.weight.T
        if self.wrong == "random":
            found = found + torch.rand(())
        if self.wrong == "mixes rows":
            found = found + inputs.mean()
        if self.wrong == "looks ahead":
            found = found + inputs.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True)
        if self.wrong == "wide":
            found = found.double()
        if self.wrong == "short":
            found = found[:, 1:]
        if self.wrong == "divides":
            found = found / 0
        return found.detach() if self.wrong == "detaches" else found

    def tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def settings(self) -> dict[str, Any]:
        return {"wrong": (1,) if self.wrong == "settings" else self.wrong}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        wrong = settings["wrong"]
        if wrong != "takes any name":
            check_names(cls.KIND, tensors, ["weight"])
        weight = next(iter(tensors.values()), torch.zeros(2, 2))
        if weight.ndim != 2 and wrong != "takes any shape":
            raise InvalidInputError("weight")
        return cls(weight + 1 if wrong == "changes" else weight, wrong)

    @property
    def digest(self) -> str:
        return "always" if self.wrong == "digest" else super(Careless, self).digest


BROKEN = (
    "twice",
    "writes the output",
    "writes the inputs",
    "writes itself",
    "random",
    "mixes rows",
    "looks ahead",
    "wide",
    "short",
    "divides",
    "detaches",
    "settings",
    "takes any name",
    "takes any shape",
    "changes",
    "digest",
)


def test_an_adapter_that_keeps_every_promise_passes() -> None:
    check_adapter(Careless(torch.ones(3, 4)), {"one": (3, 4)})


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        check_adapter(Careless(torch.ones(3, 4), wrong), {"one": (3, 4)})
