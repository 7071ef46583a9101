from dataclasses import replace

import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention
from tests.unit.activation.policies.wanted_attention import attending

from engramos.activation.policies.lazy_eviction import INTERVAL, SEEN, LazyEviction
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_a_token_that_recurs_after_long_silences_stays_and_one_that_fell_silent_goes() -> None:
    weights = torch.full((16, 24), 1e-6)
    weights[torch.arange(16), torch.arange(8, 24)] = 1.0
    # token 1 is asked for every 7 steps; token 2 at each step, and then no more
    weights[[0, 7, 14], 1] = 1.0
    weights[:8, 2] = 1.0
    view = attending(weights[None])
    policy = LazyEviction(window=2)
    policy.observe(view)
    assert float(view.notes[INTERVAL][0, 1]) == 7.0
    assert float(view.notes[SEEN][0, 1]) == 23.0
    assert kept(policy, view, 3)[0] == {1, 22, 23}
    scores = policy.score(view)[0]
    assert scores[1] > scores[2]


def test_notes_are_what_a_walk_over_the_steps_finds() -> None:
    view, policy = random_layer(20, 20, groups=2), LazyEviction(threshold=0.08)
    policy.observe(view)
    weights = slow_attention(view)
    for head in range(2):
        for token in range(20):
            last, longest = token, 0
            for step in range(token, 20):
                if max(weights[2 * head + group][step][token] for group in range(2)) > 0.08:
                    longest, last = max(longest, step - last), step
            assert float(view.notes[SEEN][head, token]) == last + 1
            assert float(view.notes[INTERVAL][head, token]) == longest


def test_it_drops_a_window_more_than_it_must_so_that_it_acts_each_window_only() -> None:
    scores = [torch.rand(2, 200)] * 3
    policy = LazyEviction(window=32)
    assert policy.allot(scores, [], 128).tolist() == [[96, 96]] * 3
    assert policy.allot(scores, [], 20).tolist() == [[10, 10]] * 3
    assert policy.allot(scores, [], 1).tolist() == [[1, 1]] * 3


def test_what_is_read_as_a_probe_leaves_no_trace() -> None:
    view = replace(random_layer(), phase="probe")
    LazyEviction().observe(view)
    assert view.notes == {}


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(LazyEviction(window=3, threshold=0.1))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"threshold": -0.1}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LazyEviction(**wrong)
