import math

import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.cake import Cake
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_a_token_whose_attention_moves_outdoes_one_with_the_same_mean() -> None:
    weights = even(4, 20)
    weights[:, 5] = 10.0
    weights[::2, 9], weights[1::2, 9] = 19.0, 1.0
    weights[1::2, 3] = 19.0 - 18.0
    view = attending(weights[None])
    assert kept(Cake(window=4, kernel=1), view, 5) == [{9, 16, 17, 18, 19}]
    mean_alone = kept(Cake(window=4, kernel=1, gamma=0.0), view, 5)[0]
    assert mean_alone == {5, 16, 17, 18, 19}


def test_the_preference_is_entropy_times_variance() -> None:
    view = random_layer(20, 5)
    policy = Cake(window=5, entropy_temperature=2.0, variance_temperature=0.5)
    entropies, variances = [], []
    for rows in slow_attention(view):
        columns = list(zip(*rows, strict=True))
        means = [sum(column) / 5 for column in columns]
        entropies.append(-sum(mean * math.log(mean) for mean in means if mean > 0))
        pairs = zip(columns, means, strict=True)
        variances.append(sum(sum((one - mean) ** 2 for one in column) / 5 for column, mean in pairs))
    wanted = (sum(entropies) / 6) ** 0.5 * (sum(variances) / 6) ** 2
    assert policy.demand(view, policy.score(view)).tolist() == pytest.approx([wanted, wanted], rel=1e-4)


def test_a_layer_whose_attention_is_spread_and_moves_gets_more() -> None:
    policy = Cake(window=4, kernel=1)
    moving, still = torch.rand(4, 30, generator=torch.Generator().manual_seed(0)) ** 4, even(4, 30, {3: 500.0})
    views = [attending(moving[None]), attending(still[None])]
    scores = [policy.score(view) for view in views]
    demands = [policy.demand(view, row) for view, row in zip(views, scores, strict=True)]
    counts = policy.allot(scores, demands, 10)
    assert counts.sum() == 20
    assert counts[0, 0] > 15


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(Cake(window=3, kernel=3))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"kernel": 4}, {"gamma": -1.0}, {"entropy_temperature": 0.0}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Cake(**wrong)
