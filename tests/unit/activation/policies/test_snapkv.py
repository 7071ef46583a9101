import pytest
import torch
from tests.unit.activation.policies.layers import kept, layer_of, random_layer, slow_attention

from engramos.activation.policies.base import PROTECTED
from engramos.activation.policies.snapkv import SnapKV
from engramos.errors import ConfigError


def test_scores_are_the_windows_mean_attention_smoothed_over_neighbours() -> None:
    view = random_layer(20, 4)
    scores, weights = SnapKV(window=4, kernel=3).score(view), slow_attention(view)
    for head in range(2):
        votes = [
            sum(weights[3 * head + one][query][token] for one in range(3) for query in range(4)) / 12
            for token in range(16)
        ]
        around = [0.0, *votes, 0.0]
        for token in range(16):
            assert scores[head, token].item() == pytest.approx(sum(around[token : token + 3]) / 3, rel=1e-4)
        assert all(scores[head, 16:] == PROTECTED)


def test_what_the_end_looks_at_stays_with_its_neighbours() -> None:
    keys = torch.zeros(1, 60, 4)
    keys[0, 20, 0] = 10.0
    view = layer_of(keys, queries=torch.ones(2, 8, 4) * 3)
    (places,) = kept(SnapKV(window=8, kernel=5), view, 13)
    assert places == {18, 19, 20, 21, 22, *range(52, 60)}


def test_the_window_is_never_longer_than_the_question() -> None:
    view = random_layer(50, 32, question_tokens=5)
    limited, short = SnapKV(window=32).score(view), SnapKV(window=5).score(random_layer(50, 32))
    assert int((limited == PROTECTED).sum()) == 2 * 5
    assert torch.equal(limited, short)


def test_all_of_a_prompt_shorter_than_the_window_is_protected() -> None:
    assert bool((SnapKV(window=64).score(random_layer(10, 10)) == PROTECTED).all())


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="window is 0"):
        SnapKV(window=0)
    with pytest.raises(ConfigError, match="kernel is 4"):
        SnapKV(kernel=4)
