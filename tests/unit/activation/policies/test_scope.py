from dataclasses import replace

import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.scope import RECEIVED, Scope
from engramos.activation.policies.snapkv import SnapKV
from engramos.activation.view import DECODE, PREFILL
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_while_tokens_are_produced_the_prompt_stays_and_heavy_hitters_are_produced_tokens() -> None:
    policy = Scope(recent=2)
    # the prompt is tokens 0 to 5: the heaviest token of all, 2, needs no vote, and 9 is the heaviest after it
    view = attending(even(1, 16, {2: 50.0, 9: 20.0})[None], prompt_tokens=6, phase=DECODE)
    policy.observe(view)
    assert kept(policy, view, 9) == [{0, 1, 2, 3, 4, 5, 9, 14, 15}]


def test_attention_is_added_up_over_the_steps() -> None:
    policy = Scope(recent=1)
    first = attending(even(1, 12, {7: 5.0})[None], prompt_tokens=4, phase=DECODE)
    policy.observe(first)
    second = attending(even(1, 12, {8: 4.0})[None], prompt_tokens=4, phase=DECODE, notes=dict(first.notes))
    policy.observe(second)
    third = attending(even(1, 12, {8: 4.0})[None], prompt_tokens=4, phase=DECODE, notes=dict(second.notes))
    policy.observe(third)
    assert float(third.notes[RECEIVED].sum()) == pytest.approx(3.0)
    assert kept(policy, third, 6) == [{0, 1, 2, 3, 8, 11}]


def test_the_prompt_is_compressed_as_snapkv_does_it_and_its_attention_is_not_noted() -> None:
    policy, view = Scope(window=6), random_layer(40, 40)
    policy.observe(view)
    assert view.notes == {}
    assert kept(policy, view, 15) == kept(SnapKV(window=6), view, 15)


def test_the_newest_token_stays_though_the_budget_lacks_room_for_the_prompt() -> None:
    view = replace(attending(even(1, 10)[None], prompt_tokens=6), phase=DECODE)
    assert kept(Scope(), view, 3) == [{0, 1, 9}]
    assert kept(Scope(window=2), replace(view, phase=PREFILL), 1) == [{9}]


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(Scope(window=2, recent=3))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"kernel": 2}, {"recent": 0}])
def test_wrong_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Scope(**wrong)


def test_heads_add_up_apart() -> None:
    policy = Scope(recent=1)
    weights = torch.stack([even(1, 10, {5: 9.0}), even(1, 10, {7: 9.0})])
    view = attending(weights, prompt_tokens=4, phase=DECODE)
    policy.observe(view)
    assert kept(policy, view, 6) == [{0, 1, 2, 3, 5, 9}, {0, 1, 2, 3, 7, 9}]
