import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer, slow_attention
from tests.unit.activation.policies.wanted_attention import attending, even

from engramos.activation.policies.finch import Finch
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def test_what_the_question_looks_at_stays_and_so_does_the_question() -> None:
    weights = even(8, 30, {4: 50.0})
    weights[-3:, 4], weights[-3:, 11] = 1.0, 50.0
    view = attending(weights[None], question_tokens=3)
    # the five queries before the question ask for 4: they have no vote
    assert kept(Finch(), view, 4) == [{11, 27, 28, 29}]


def test_each_query_weighs_as_much_as_there_are_tokens_before_it() -> None:
    view = random_layer(25, 25, question_tokens=4)
    weights = slow_attention(view)
    scores = Finch().score(view)
    for head in range(2):
        for token in range(21):
            wanted = sum(
                weights[3 * head + group][query][token] * query for group in range(3) for query in range(21, 25)
            )
            assert float(scores[head, token]) == pytest.approx(wanted / 12, rel=1e-4)


def test_without_a_question_the_newest_tokens_stand_for_it() -> None:
    weights = even(8, 30, {4: 50.0})
    assert kept(Finch(window=2), attending(weights[None]), 3) == [{4, 28, 29}]


def test_chunks_keep_equal_shares_beside_the_question() -> None:
    view = attending(even(2, 32, dict.fromkeys(range(10), 50.0))[None], question_tokens=2)
    assert kept(Finch(), view, 11) == [{*range(9), 30, 31}]
    by_chunk = kept(Finch(chunk=10), view, 11)[0]
    assert {30, 31} <= by_chunk
    assert [sum(start <= place < start + 10 for place in by_chunk) for start in (0, 10, 20)] == [3, 3, 3]


def test_chunks_keep_the_promise_of_the_role() -> None:
    check_policy(Finch(window=2, chunk=5))


def test_a_budget_below_the_question_keeps_its_end() -> None:
    view = random_layer(30, 30, question_tokens=6)
    assert kept(Finch(), view, 4) == [{26, 27, 28, 29}] * 2
    assert kept(Finch(chunk=8), view, 4) == [{26, 27, 28, 29}] * 2


@pytest.mark.parametrize("wrong", [{"window": 0}, {"longest": 0}, {"chunk": -1}])
def test_wrong_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Finch(**wrong)


def test_only_so_many_tokens_of_a_long_question_vote() -> None:
    weights = torch.ones(10, 30)
    weights[:5, 3], weights[5:, 7] = 90.0, 50.0
    view = attending(weights[None], question_tokens=10)
    assert kept(Finch(longest=5, window=1), view, 11) == [{7, *range(20, 30)}]
    assert kept(Finch(), view, 11) == [{3, *range(20, 30)}]
