"""A thousand random changes to which adapters are there: every output is the right one, however names begin."""

import random
from functools import cache

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.integration.parametric_models import drawn_adapter, fresh_engine

from engramos.engines._mixture import Mixture
from engramos.engines.transformers import Transformers
from engramos.parametric.adapter import Adapter

NUM_OPERATIONS = 1_000
NAMES = ("a", "ab", "abc", "b", "ba", "a.b", "ab.c", "default", "default_0", "x")
"""Where one is another's beginning, what finds tensors by the beginning of a name mixes them up."""


base_of = cache(lambda model: model.base)


@torch.no_grad()
def scores(model: Transformers, ids: torch.Tensor, rows: list[list[Adapter]]) -> torch.Tensor:
    base = base_of(model)
    mixture = Mixture(model._hosted.model, rows)
    starts = torch.zeros((len(rows), len(mixture.adapters)), dtype=torch.int64)
    with mixture.passing(torch.arange(ids.shape[1]).expand(len(rows), -1), starts):
        return base.scores(base.run(base.embedded(ids)))[:, -1]


def test_a_thousand_random_operations_leave_every_output_right() -> None:
    model, draw = fresh_engine(num_layers=1), random.Random(0)
    made = [drawn_adapter(model, seed, layers=(0,), kinds=("q_proj", "down_proj")) for seed in range(12)]
    ids = torch.tensor([model.tokens("who")] * 4)
    wanted = {one: scores(model, ids[:1], [[one]])[0] for one in made}
    plain = scores(model, ids, [[], [], [], []])[0]
    gaps = [
        float((one - other).abs().max()) for one in wanted.values() for other in wanted.values() if one is not other
    ]
    assert min(gaps) > 0.1, "adapters must be told apart, or nothing is shown"
    there: dict[str, Adapter] = {}
    changed = {"add": 0, "swap": 0, "remove": 0}
    for _ in range(NUM_OPERATIONS):
        name = draw.choice(NAMES)
        act = "add" if name not in there else draw.choice(("swap", "remove"))
        changed[act] += 1
        if act == "remove":
            del there[name]
        else:
            there[name] = draw.choice(made)
        chosen = [there.get(draw.choice(NAMES)) for _ in range(4)]
        found = scores(model, ids, [[] if one is None else [one] for one in chosen])
        for one, row in zip(chosen, found, strict=True):
            if one is None:
                assert torch.equal(row, plain)
            else:
                assert torch.allclose(row, wanted[one], atol=1e-4)
    assert min(changed.values()) > 200
    assert not any(one._forward_hooks for one in model._hosted.model.modules()), "a hook was left behind"


class Holding(RuleBasedStateMachine):
    """Adapters are held and released in any order; the model is always the one of those that are held."""

    held = Bundle("held")

    def __init__(self) -> None:
        """Begin with a model that holds nothing."""
        super().__init__()
        self.model = fresh_engine(num_layers=1)
        self.base = self.model.base
        self.ids = torch.tensor([self.model.tokens("who")])
        self.weights = self.base.digest()
        self.plain = scores(self.model, self.ids, [[]])
        self.expected: list[Adapter] = []

    @rule(target=held, seed=st.integers(0, 5))
    def hold(self, seed: int) -> Adapter:
        """Hold a new adapter."""
        adapter = drawn_adapter(self.model, seed, layers=(0,), kinds=("down_proj",))
        self.base.hold(adapter)
        self.expected.append(adapter)
        return adapter

    @rule(adapter=consumes(held))
    def release(self, adapter: Adapter) -> None:
        """Release one of them, whichever."""
        self.base.release(adapter)
        self.expected.remove(adapter)

    @rule(adapter=held)
    def hold_again(self, adapter: Adapter) -> None:
        """Hold what is held: it moves to the end, and acts once."""
        self.base.hold(adapter)
        self.expected.remove(adapter)
        self.expected.append(adapter)

    @invariant()
    def only_what_is_held_acts(self) -> None:
        """Scores are those of the held adapters; with none, the base model's bits."""
        assert self.base.held == tuple(self.expected)
        assert self.base.digest() == self.weights
        found = scores(self.model, self.ids, [[]])
        if not self.expected:
            assert torch.equal(found, self.plain)
            return
        digests = self.model.fingerprint["adapters"]
        assert digests == tuple(one.digest for one in self.expected)
        for one in list(self.expected):
            self.base.release(one)
        together = scores(self.model, self.ids, [self.expected])
        for one in self.expected:
            self.base.hold(one)
        assert torch.allclose(found, together, atol=1e-3)


def test_adapters_are_held_and_released_in_any_order() -> None:
    run_state_machine_as_test(Holding, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))


@pytest.mark.parametrize("num", [1, 8, 40])
def test_mixing_takes_memory_for_the_adapters_alone_and_gives_it_back(num: int) -> None:
    model = fresh_engine(num_layers=1)
    made = [drawn_adapter(model, seed, layers=(0,), kinds=("down_proj",)) for seed in range(num)]
    ids = torch.tensor([model.tokens("who")] * num)
    mixture = Mixture(model._hosted.model, [[one] for one in made])
    tensors = [part for fused in mixture._low_rank.values() for part in (fused.down, fused.up)]
    assert sum(one.nbytes for one in tensors) == sum(one.num_bytes for one in made)
    before = scores(model, ids, [[]] * num)
    scores(model, ids, [[one] for one in made])
    assert torch.equal(scores(model, ids, [[]] * num), before)
