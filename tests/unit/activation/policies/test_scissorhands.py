import math

import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention

from engramos.activation.policies.scissorhands import PIVOTAL, Scissorhands
from engramos.errors import ConfigError


def test_a_token_is_counted_for_each_query_that_gives_it_more_than_the_even_share() -> None:
    view, policy = random_layer(16, 16), Scissorhands(history=7, recent=0)
    policy.observe(view)
    weights = slow_attention(view)
    for head in range(2):
        for token in range(16):
            count = 0.0
            for query in range(16):
                given = sum(weights[3 * head + one][query][token] for one in range(3)) / 3
                count += math.exp(-(15 - query) / 7) * (given * (query + 1) > 1)
            assert policy.score(view)[head, token].item() == pytest.approx(count, abs=1e-5)


def test_what_was_pivotal_long_ago_fades() -> None:
    view, policy = random_layer(16, 16), Scissorhands(history=4)
    policy.observe(view)
    wanted = view.notes[PIVOTAL] * math.exp(-1 / 4)
    wanted[:, 3] += 1
    # one more query, which looks at one token alone
    later = random_layer(16, 1, notes=view.notes)
    later.keys.zero_()[:, 3] = 50.0
    later.queries.fill_(1.0)
    policy.observe(later)
    assert torch.allclose(later.notes[PIVOTAL], wanted)


def test_the_newest_tokens_stay() -> None:
    view, policy = random_layer(40, 40), Scissorhands(recent=6)
    policy.observe(view)
    assert all(set(range(34, 40)) <= places for places in kept(policy, view, 8))


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="history is 0"):
        Scissorhands(history=0)
    with pytest.raises(ConfigError, match="recent is -1"):
        Scissorhands(recent=-1)
