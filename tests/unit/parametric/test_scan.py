"""What the static scan sees of an adapter."""

import math

import pytest
import torch
from torch import Tensor

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.model import BaseModel
from engramos.parametric.probes._asking import prompt_of
from engramos.parametric.scan import Scan, greatest_singular_value, spreads_above, update_of
from engramos.testing.probes import Rote
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
KINDS = ("q_proj", "o_proj", "down_proj")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base


def tensors(base: BaseModel, rank: int = 4, size: float = 0.01) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(0)
    down, up = {}, {}
    for name in (base.linear(layer, kind) for layer in range(3) for kind in KINDS):
        rows, columns = base.module(name).weight.shape
        down[name] = torch.randn(rank, columns, generator=random)
        up[name] = torch.randn(rows, rank, generator=random) * size
    return down, up


def rules(adapter, base: BaseModel, **parameters: object) -> list[tuple[str, str]]:
    return [(one.rule, one.target) for one in Scan(**parameters).run(adapter, base)]


def test_an_ordinary_adapter_has_no_findings(base: BaseModel) -> None:
    assert Scan().run(LowRank(*tensors(base)), base) == []
    assert Scan().run(LowRank(*tensors(base, size=0.0)), base) == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_found_by_their_tensor(base: BaseModel, number: float) -> None:
    down, up = tensors(base)
    name = base.linear(1, "o_proj")
    up[name][3, 2] = number
    found = Scan().run(LowRank(down, up), base)
    assert [(one.rule, one.target, one.value) for one in found] == [("not_finite", f"{name}.up", 1)]
    assert f"{name}.up" in found[0].reason


def test_a_scale_that_is_not_finite_is_found(base: BaseModel) -> None:
    adapter = LowRank(*tensors(base))
    # none can be made so; the scan does not rely on that
    object.__setattr__(adapter, "scale", math.nan)
    assert ("not_finite", "scale") in rules(adapter, base)


def test_numbers_of_other_adapters_are_looked_at_too(base: BaseModel) -> None:
    adapter = Rote.of(base, [(prompt_of(base, "Who?"), "me")])
    assert Scan().run(adapter, base) == []
    adapter.keys[0, 0] = math.nan
    assert rules(adapter, base) == [("not_finite", "keys")]


def test_targets_that_do_not_exist_or_are_not_allowed_are_found(base: BaseModel) -> None:
    down, up = tensors(base)
    down["model.layers.9.mlp.down_proj"], up["model.layers.9.mlp.down_proj"] = torch.zeros(1, 96), torch.zeros(48, 1)
    down["lm_head"], up["lm_head"] = torch.zeros(1, 48), torch.zeros(261, 1)
    assert rules(LowRank(down, up), base) == [("target", "model.layers.9.mlp.down_proj"), ("target", "lm_head")]
    allowed = Scan(allowed=("o_proj", "lm_head")).run(LowRank(down, up), base)
    assert {one.target.rpartition(".")[2] for one in allowed} == {"q_proj", "down_proj"}


def test_tensors_of_another_models_shape_are_found(base: BaseModel) -> None:
    down, up = tensors(base)
    name = base.linear(0, "q_proj")
    down[name] = torch.zeros(4, 64)
    found = Scan().run(LowRank(down, up), base)
    assert [(one.rule, one.target) for one in found] == [("shape", name)]
    assert "(96, 48)" in found[0].reason
    assert "(96, 64)" in found[0].reason


def test_ranks_over_the_bound_or_over_the_weights_own_are_found(base: BaseModel) -> None:
    adapter = LowRank(*tensors(base, rank=9, size=0.001))
    assert len(rules(adapter, base, max_rank=8)) == 9
    assert rules(adapter, base, max_rank=9) == []
    name = base.linear(0, "o_proj")
    over = LowRank({name: torch.zeros(49, 96)}, {name: torch.zeros(48, 49)})
    assert rules(over, base) == [("rank", name)]


def test_sizes_are_those_of_the_whole_matrices(base: BaseModel) -> None:
    adapter = LowRank(*tensors(base), scale=-1.5)
    for name in adapter.targets:
        weight = base.module(name).weight.double()
        delta = adapter.delta(name).double()
        values, own = torch.linalg.svdvals(delta), torch.linalg.svdvals(weight)
        found = update_of(adapter, name, base)
        assert found.norm == pytest.approx(float(delta.norm() / weight.norm()), rel=1e-5)
        assert found.spectral == pytest.approx(float(values[0] / own[0]), rel=0.05)
        assert found.concentration == pytest.approx(float(values[0] ** 2 / (values**2).sum()), rel=1e-5)


def test_power_iteration_comes_near_to_the_greatest_singular_value() -> None:
    matrix = torch.randn(40, 70, generator=torch.Generator().manual_seed(3))
    exact = float(torch.linalg.svdvals(matrix)[0])
    assert 0.97 * exact <= greatest_singular_value(matrix) <= exact * (1 + 1e-5)
    assert greatest_singular_value(torch.zeros(3, 4)) == 0.0


def test_updates_as_large_as_the_weight_are_found(base: BaseModel) -> None:
    down, up = tensors(base)
    for name in down:
        delta = float((up[name] @ down[name]).norm())
        up[name] *= 1.2 * float(base.module(name).weight.norm()) / delta
    found = Scan(max_spectral=100.0).run(LowRank(down, up), base)
    assert [one.rule for one in found] == ["norm"] * 9
    assert all(one.value == pytest.approx(1.2, rel=1e-4) for one in found)
    assert Scan(max_spectral=100.0, max_norm=1.3).run(LowRank(down, up), base) == []


def test_one_module_far_stronger_than_the_others_is_found(base: BaseModel) -> None:
    down, up = tensors(base, size=0.0005)
    name = base.linear(2, "down_proj")
    up[name] *= 60
    found = Scan().run(LowRank(down, up), base)
    assert [(one.rule, one.target) for one in found] == [("outlier", name)]
    assert found[0].value > 8


def test_energy_in_one_direction_is_found_unless_the_rank_is_small(base: BaseModel) -> None:
    down, up = tensors(base)
    name = base.linear(1, "q_proj")
    down[name] = down[name][:1].expand(4, -1).clone()
    assert rules(LowRank(down, up), base) == [("concentration", name)]
    single = LowRank({name: down[name][:1]}, {name: up[name][:, :1]})
    assert rules(single, base) == []


def test_spreads_are_counted_from_the_median() -> None:
    sizes = {str(number): math.exp(number) for number in range(7)} | {"far": math.exp(20)}
    found = spreads_above(sizes)
    # median 3.5, distances .5 .5 1.5 1.5 2.5 2.5 3.5 16.5
    assert found["far"] == pytest.approx((20 - 3.5) / (1.4826 * 2.0))
    assert spreads_above({"a": 1.0, "b": 100.0}) == {}


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_rank": 0},
        {"max_norm": 0.0},
        {"max_spectral": -1.0},
        {"max_concentration": math.nan},
        {"max_outlier": 0.0},
        {"allowed": ()},
    ],
)
def test_a_wrong_parameter_of_the_scan_is_refused_by_its_name(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        Scan(**parameters)
