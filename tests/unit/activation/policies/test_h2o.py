import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention

from engramos.activation.policies.h2o import H2O, RECEIVED, SEEN_BY
from engramos.errors import ConfigError


def test_scores_are_the_mean_attention_over_the_queries_that_could_see_a_token() -> None:
    view, policy = random_layer(20, 20), H2O()
    policy.observe(view)
    scores, weights = policy.score(view), slow_attention(view)
    for head in range(2):
        for token in range(20):
            received = sum(weights[3 * head + one][query][token] for one in range(3) for query in range(20)) / 3
            assert scores[head, token].item() == pytest.approx(received / (20 - token), rel=1e-4)


def test_the_papers_form_sums() -> None:
    view, policy = random_layer(20, 20), H2O(is_averaged=False)
    policy.observe(view)
    weights = slow_attention(view)
    first = sum(weights[one][query][0] for one in range(3) for query in range(20)) / 3
    assert policy.score(view)[0, 0].item() == pytest.approx(first, rel=1e-4)
    assert policy.score(view).sum().item() == pytest.approx(2 * 20, rel=1e-4)


def test_two_passes_add_up() -> None:
    view, policy = random_layer(20, 20), H2O()
    policy.observe(view)
    once = view.notes[RECEIVED].clone()
    policy.observe(view)
    assert torch.allclose(view.notes[RECEIVED], 2 * once)
    assert view.notes[SEEN_BY][0].tolist() == [2.0 * (20 - token) for token in range(20)]


def test_a_heavy_hitter_of_the_past_outlives_newer_tokens_that_nobody_looks_at() -> None:
    view = random_layer(30, 30)
    view.queries[:, :, 0] = 4.0
    view.keys[:, :, 0] = 0.0
    view.keys[:, 5, 0] = 9.0
    policy = H2O(is_averaged=False)
    policy.observe(view)
    assert all(5 in places for places in kept(policy, view, 3))


def test_the_recent_share_belongs_to_the_newest_tokens() -> None:
    view, policy = random_layer(30, 30), H2O(recent_share=0.5)
    policy.observe(view)
    for places in kept(policy, view, 10):
        assert {25, 26, 27, 28, 29} <= places
        assert len(places) == 10


def test_the_recent_share_of_a_shorter_head_ends_before_the_padding() -> None:
    view, policy = random_layer(30, 30), H2O(recent_share=1.0)
    view.positions[1, 20:] = -1
    policy.observe(view)
    assert kept(policy, view, 4) == [{26, 27, 28, 29}, {16, 17, 18, 19}]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_recent_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="recent_share"):
        H2O(recent_share=share)
