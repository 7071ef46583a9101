import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.epicache import EpiCache
from engramos.activation.view import PREFILL, PROBE
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_what_the_episodes_texts_look_at_stays() -> None:
    policy = EpiCache(window=2)
    first = attending(even(3, 30, {5: 90.0})[None], phase=PROBE)
    policy.observe(first)
    second = attending(even(3, 30, {17: 60.0})[None], phase=PROBE, notes=dict(first.notes))
    policy.observe(second)
    # the prompt's own end asks for another token: it has no say
    view = attending(even(3, 30, {9: 900.0})[None], phase=PREFILL, notes=dict(second.notes))
    policy.observe(view)
    assert kept(policy, view, 4) == [{5, 17, 28, 29}]


def test_without_a_probe_the_window_votes() -> None:
    view = attending(even(3, 30, {9: 900.0})[None])
    assert kept(EpiCache(window=2), view, 3) == [{9, 28, 29}]


def test_episodes_are_read_and_without_them_the_prompts_end() -> None:
    def letters(text: str) -> list[int]:
        return [ord(letter) for letter in text]

    assert list(EpiCache(episodes=["ab", "", "c"]).probes([1, 2, 3], letters)) == [[97, 98], [99]]
    assert list(EpiCache(tail=2).probes([1, 2, 3], letters)) == [[2, 3]]


def test_layer_budgets_follow_sensitivity_to_the_power_of_alpha() -> None:
    policy = EpiCache(sensitivities=(1.0, 2.0), alpha=2.0, floor_share=0.1)
    views = [random_layer(100, 32) for _ in range(2)]
    for layer, view in enumerate(views):
        view.layer, view.num_layers = layer, 2
    scores = [policy.score(view) for view in views]
    demands = [policy.demand(view, row) for view, row in zip(views, scores, strict=True)]
    assert [one.tolist() for one in demands] == [[1.0, 1.0], [4.0, 4.0]]
    # a floor of 2 for each of the two layers, and 36 tokens shared as 1 to 4
    assert policy.allot(scores, demands, 20).tolist() == [[9, 9], [31, 31]]


def test_without_sensitivities_a_layer_that_looks_far_back_gets_more() -> None:
    policy = EpiCache(window=4)
    near = attending(even(4, 64, dict.fromkeys(range(60, 64), 90.0))[None])
    far = attending(even(4, 64, {30: 900.0})[None])
    demands = [policy.demand(view, policy.score(view)) for view in (near, far)]
    assert float(demands[1]) > 4 * float(demands[0])


def test_episodes_keep_the_promise_of_the_role() -> None:
    check_policy(EpiCache(window=2, episodes=["ab", "c"], sensitivities=[1, 2, 3]))


def test_sensitivities_of_another_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 numbers and the model 1 layers"):
        EpiCache(sensitivities=(1.0, 2.0)).demand(random_layer(), torch.zeros(2, 40))


@pytest.mark.parametrize("wrong", [{"episodes": "one"}, {"tail": 0}, {"alpha": -1.0}, {"sensitivities": (-1.0,)}])
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        EpiCache(**wrong)
