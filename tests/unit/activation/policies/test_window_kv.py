import pytest
import torch
from tests.unit.activation.policies.layers import kept
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.window_kv import WindowKV
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy

POLICY = WindowKV(observation=2, lookup_window=8, aggregation_window=4)


def test_a_look_up_keeps_the_whole_long_window_around_the_place() -> None:
    view = attending(even(2, 42, {19: 5000.0})[None])
    assert kept(POLICY, view, 10) == [{16, 17, 18, 19, 20, 21, 22, 23, 40, 41}]


def test_an_aggregation_keeps_short_windows_at_many_places() -> None:
    view = attending(even(2, 42, {5: 9.0, 18: 9.0, 30: 9.0})[None])
    assert kept(POLICY, view, 14) == [{4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31, 40, 41}]


def test_a_budget_that_is_not_whole_windows_keeps_the_beginning_of_the_last_one() -> None:
    view = attending(even(2, 42, {5: 9.0, 18: 8.0})[None])
    assert kept(POLICY, view, 9) == [{4, 5, 6, 7, 16, 17, 18, 40, 41}]


def test_heads_together_say_what_the_task_is() -> None:
    spread = torch.ones(2, 40)
    place = torch.zeros(2, 40)
    place[:, 7] = 1.0
    assert POLICY.window_length(spread) == 4
    assert POLICY.window_length(place) == 8
    assert POLICY.window_length(torch.zeros(2, 40)) == 8


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(WindowKV(observation=2, lookup_window=5, aggregation_window=3))


@pytest.mark.parametrize(
    "wrong", [{"observation": 0}, {"lookup_window": 0}, {"aggregation_window": 0}, {"lookup_entropy": 0.0}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        WindowKV(**wrong)
