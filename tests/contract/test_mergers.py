"""Every merger keeps the promise of its role, and does what its formula says."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import numpy as np
import pytest
import torch

from engramos.errors import ConfigError, EngramosError, InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.mergers import ROLE
from engramos.parametric.mergers.base import Merger
from engramos.testing.mergers import CHECKS, SHAPES, check_merger, some_adapter

torch.set_num_threads(1)
VARIANTS = (
    ("linear", {"is_mean": True}),
    ("svd", {"rank": 1}),
    ("svd", {"rank": 4096}),
    ("ties", {"density": 1.0, "rank": 1}),
    ("ties", {"density": 0.05, "strength": 0.5}),
    ("dare", {"drop": 0.0}),
    ("dare", {"drop": 0.9, "seed": 7, "rank": 9}),
)
WIDE = 4096
"""A rank that cuts nothing off."""
WEIGHTS = [0.7, -1.3, 2.0]


def three(dtype=torch.float32):
    return [some_adapter(0, 2, dtype=dtype), some_adapter(1, 3, scale=0.5), some_adapter(2, 1, list(SHAPES)[1:])]


def update(adapter: LowRank, target: str) -> np.ndarray:
    """Return scale * up @ down by its definition, in float64; zeros where the adapter does not act."""
    out = np.zeros(SHAPES[target])
    if target not in adapter.targets:
        return out
    down, up = adapter.down[target].double().numpy(), adapter.up[target].double().numpy()
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[row, column] = adapter.scale * sum(up[row, one] * down[one, column] for one in range(up.shape[1]))
    return out


def weighted_sum(adapters, weights, target):
    return sum(weight * update(one, target) for one, weight in zip(adapters, weights, strict=True))


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    return float(np.abs(found - wanted).max()) <= 2e-6 * float(np.abs(wanted).max())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_merger_passes(name, check):
    check(ROLE.make(name))


@pytest.mark.parametrize(("name", "parameters"), VARIANTS)
def test_a_merger_passes_with_other_parameters(name, parameters):
    for check in CHECKS:
        check(ROLE.make(name, **parameters))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_merger_is_frozen_and_refuses_unknown_parameters(name):
    merger = ROLE.make(name)
    for field in fields(merger):
        with pytest.raises(FrozenInstanceError):
            setattr(merger, field.name, getattr(merger, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("svd", {"rank": -1}),
        ("svd", {"rank": 4097}),
        ("ties", {"density": 0.0}),
        ("ties", {"density": 1.1}),
        ("ties", {"density": float("nan")}),
        ("ties", {"strength": 0.0}),
        ("ties", {"strength": float("inf")}),
        ("ties", {"rank": -1}),
        ("dare", {"drop": 1.0}),
        ("dare", {"drop": -0.1}),
        ("dare", {"seed": -1}),
        ("dare", {"seed": 2**63}),
        ("dare", {"rank": 5000}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name, parameters):
    with pytest.raises(ConfigError, match=f"{next(iter(parameters))} is "):
        ROLE.make(name, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("cat", {}), ("linear", {}), ("svd", {"rank": WIDE}), ("dare", {"drop": 0.0, "rank": WIDE})],
)
def test_nothing_cut_off_gives_the_weighted_sum_without_products_across_adapters(name, parameters):
    adapters = three()
    merged = ROLE.make(name, **parameters).merge(adapters, WEIGHTS)
    for target in SHAPES:
        assert near(update(merged, target), weighted_sum(adapters, WEIGHTS, target))


def test_cat_adds_up_the_ranks():
    merged = ROLE.make("cat").merge(three())
    assert [merged.rank(target) for target in SHAPES] == [5, 6, 6]


def test_cat_of_more_than_an_adapter_may_have_is_refused():
    target = "layers.0.q_proj"
    one = LowRank({target: torch.ones(2100, 9)}, {target: torch.ones(6, 2100)})
    with pytest.raises(InvalidInputError, match="4200"):
        ROLE.make("cat").merge([one, one])


def test_a_linear_merge_needs_no_more_rank_than_its_updates_share():
    one, other = some_adapter(0, 2), some_adapter(1, 3)
    linear = ROLE.make("linear")
    assert {linear.merge([one, one, one]).rank(target) for target in SHAPES} == {2}
    assert {linear.merge([one, other]).rank(target) for target in SHAPES} == {5}
    assert {linear.merge([one, other, one], [1.0, 1.0, -1.0]).rank(target) for target in SHAPES} == {3}


def test_a_mean_divides_by_the_weights():
    adapters = three()
    merged = ROLE.make("linear", is_mean=True).merge(adapters, WEIGHTS)
    for target in SHAPES:
        assert near(update(merged, target), weighted_sum(adapters, WEIGHTS, target) / sum(WEIGHTS))
    with pytest.raises(InvalidInputError, match="add up to 0"):
        ROLE.make("linear", is_mean=True).merge(adapters[:2], [1.0, -1.0])


@pytest.mark.parametrize("rank", [0, 1, 2, 4])
def test_svd_is_the_nearest_update_of_its_rank(rank):
    adapters = three()
    merged = ROLE.make("svd", rank=rank).merge(adapters, WEIGHTS)
    for target in SHAPES:
        wanted = weighted_sum(adapters, WEIGHTS, target)
        kept = rank or 3
        assert merged.rank(target) == kept
        values = np.linalg.svd(wanted, compute_uv=False)
        missed = np.linalg.norm(update(merged, target) - wanted)
        assert missed == pytest.approx(np.sqrt((values[kept:] ** 2).sum()), rel=1e-5, abs=1e-5)


def ties_by_the_paper(updates, density, strength):
    """Algorithm 1 with loops: trim, elect, disjoint mean."""
    trimmed = []
    for one in updates:
        least = sorted((abs(number) for number in one.flatten()), reverse=True)[max(1, round(density * one.size)) - 1]
        trimmed.append(np.where(np.abs(one) >= least, one, 0.0))
    out = np.zeros_like(updates[0])
    for place in np.ndindex(out.shape):
        numbers = [float(one[place]) for one in trimmed]
        sign = 1 if sum(numbers) > 0 else -1
        agreeing = [number for number in numbers if number * sign > 0]
        out[place] = strength * sum(agreeing) / len(agreeing) if agreeing else 0.0
    return out


@pytest.mark.parametrize(("density", "strength"), [(1.0, 1.0), (0.5, 1.0), (0.2, 0.7), (0.001, 1.0)])
def test_ties_trims_elects_and_averages_the_updates(density, strength):
    adapters = three()
    merged = ROLE.make("ties", density=density, strength=strength, rank=WIDE).merge(adapters, WEIGHTS)
    for target in SHAPES:
        acting = [(one, weight) for one, weight in zip(adapters, WEIGHTS, strict=True) if target in one.targets]
        wanted = ties_by_the_paper([weight * update(one, target) for one, weight in acting], density, strength)
        assert np.abs(update(merged, target) - wanted).max() <= 3e-6 * np.abs(wanted).max()


def test_ties_does_not_let_two_small_numbers_weaken_a_great_one_of_the_other_sign():
    target = "layers.0.q_proj"
    up, small = torch.zeros(6, 1), torch.zeros(6, 1)
    up[0], small[0] = 3.0, -1.0
    one, other = LowRank({target: torch.ones(1, 9)}, {target: up}), LowRank({target: torch.ones(1, 9)}, {target: small})
    merged = ROLE.make("ties", density=1.0).merge([one, other, other]).delta(target)
    assert torch.allclose(merged[0], torch.full((9,), 3.0))
    assert float(merged[1:].abs().max()) == 0


def test_dare_drops_a_share_and_makes_up_for_it():
    adapter = some_adapter(0, 3)
    merged = ROLE.make("dare", drop=0.25, rank=WIDE, seed=3).merge([adapter])
    num_dropped = num_all = 0
    for target in SHAPES:
        before, after = update(adapter, target), update(merged, target)
        dropped = np.abs(after) < 1e-5
        assert np.allclose(after[~dropped], before[~dropped] / 0.75, rtol=1e-4, atol=1e-5)
        num_dropped, num_all = num_dropped + int(dropped.sum()), num_all + dropped.size
    assert 0.15 < num_dropped / num_all < 0.35


def test_dare_draws_for_each_adapter_and_as_its_seed_says():
    one = some_adapter(0)
    merger = ROLE.make("dare", seed=1)
    assert merger.merge([one]).digest != replace(merger, seed=2).merge([one]).digest
    both = ROLE.make("dare", rank=WIDE).merge([one, one])
    for target in SHAPES:
        share = np.round(update(both, target) / update(one, target)).astype(int)
        assert set(np.unique(share)) == {0, 2, 4}


def test_the_mean_of_many_dares_is_the_sum():
    one, target = some_adapter(0), "layers.0.q_proj"
    total = sum(update(ROLE.make("dare", rank=WIDE, seed=seed).merge([one]), target) for seed in range(300)) / 300
    assert np.linalg.norm(total - update(one, target)) < 0.1 * np.linalg.norm(update(one, target))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_merged_adapter_changes_outputs_as_its_update_says(name):
    merged = ROLE.make(name).merge(three(), WEIGHTS)
    for target, (features_out, features_in) in SHAPES.items():
        inputs = torch.randn(2, 5, features_in, generator=torch.Generator().manual_seed(4))
        output = torch.zeros(2, 5, features_out)
        wanted = inputs.double().numpy() @ update(merged, target).T
        assert np.allclose(merged.change(target, inputs, output).numpy(), wanted, atol=1e-4)


@dataclass(frozen=True)
class Careless(Merger):
    """Breaks one promise."""

    wrong: str = ""

    def merge(self, adapters, weights=None):
        if self.wrong == "writes":
            next(iter(adapters[0].down.values())).data.mul_(2)
        if self.wrong == "lends":
            return adapters[0]
        if self.wrong == "random" and adapters:
            weights = [float(torch.rand(())) + 0.5] * len(adapters)
        if self.wrong == "ignores weights":
            weights = None
        merged = ROLE.make("cat").merge(adapters[:1] if self.wrong == "forgets" else adapters, weights)
        return replace(merged, invocation=()) if self.wrong == "forgets the invocation" else merged


def test_a_merger_that_keeps_every_promise_passes():
    check_merger(Careless())


@pytest.mark.parametrize("wrong", ["writes", "lends", "random", "ignores weights", "forgets", "forgets the invocation"])
def test_a_broken_promise_is_seen(wrong):
    with pytest.raises((AssertionError, EngramosError)):
        check_merger(Careless(wrong))
