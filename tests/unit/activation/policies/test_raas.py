import pytest
import torch
from tests.unit.activation.policies.layers import kept
from tests.unit.activation.policies.wanted_attention import attending

from engramos.activation.policies.raas import STAMP, RaaS
from engramos.activation.view import DECODE, PREFILL, LayerView
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def reasoning(phase: str = DECODE) -> LayerView:
    """4 tokens of prompt, 12 produced; of these 5 is used until step 15, 6 until step 10, the others when new."""
    weights = torch.full((12, 16), 1e-9)
    weights[torch.arange(12), torch.arange(4, 16)] = 1.0
    weights[1:, 5] = 1.0
    weights[2:7, 6] = 1.0
    return attending(weights[None], prompt_tokens=4, phase=phase)


def test_a_milestone_stays_while_it_is_used_and_the_least_recently_used_goes_first() -> None:
    policy, view = RaaS(), reasoning()
    policy.observe(view)
    assert view.notes[STAMP][0, 4:8].tolist() == [5.0, 16.0, 11.0, 8.0]
    prompt = {0, 1, 2, 3}
    assert kept(policy, view, 6) == [prompt | {5, 15}]
    assert kept(policy, view, 10) == [prompt | {5, 11, 12, 13, 14, 15}]
    assert kept(policy, view, 12) == [prompt | {5, 6, 10, 11, 12, 13, 14, 15}]
    assert 4 not in kept(policy, view, 15)[0]


def test_a_step_stamps_no_more_than_the_top_share() -> None:
    weights = torch.tensor([[[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]])
    view = attending(weights, prompt_tokens=0, phase=DECODE)
    RaaS(share=0.25).observe(view)
    assert view.notes[STAMP][0].tolist() == [8.0, 8.0, 0, 0, 0, 0, 0, 0]


def test_a_step_stamps_nothing_below_the_threshold() -> None:
    weights = torch.tensor([[[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]])
    view = attending(weights, prompt_tokens=0, phase=DECODE)
    RaaS(share=1.0, threshold=0.15).observe(view)
    assert view.notes[STAMP][0].tolist() == [8.0, 8.0, 8.0, 0, 0, 0, 0, 0]


def test_the_prompt_is_read_without_stamps() -> None:
    view = reasoning(PREFILL)
    RaaS().observe(view)
    assert view.notes == {}


def test_parameters_at_their_bounds_keep_the_promise_of_the_role() -> None:
    check_policy(RaaS(share=1.0, threshold=0.0))


@pytest.mark.parametrize("wrong", [{"threshold": -1.0}, {"share": 0.0}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RaaS(**wrong)
