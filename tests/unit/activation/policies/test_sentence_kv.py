import pytest
import torch
from tests.unit.activation.policies.layers import kept, layer_of, random_layer

from engramos.activation.policies.sentence_kv import SentenceKV
from engramos.activation.view import LayerView
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy

SENTENCES = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4]


def conversation(answers: list[float]) -> LayerView:
    """Five sentences of 4, 3, 5, 2 and 1 tokens, whose keys answer to the query so much."""
    keys = torch.zeros(1, 15, 4)
    keys[0, :, 0] = torch.tensor([answers[number] for number in SENTENCES])
    keys[0, :, 1] = torch.arange(15) % 3 - 1.0
    query = torch.tensor([[[2.0, 0.0, 0.0, 0.0]]])
    return layer_of(keys, queries=query, notes={"sentence": torch.tensor([SENTENCES]).float()})


def test_whole_sentences_stay_in_the_order_of_their_mean_key() -> None:
    policy = SentenceKV(window=1, num_sinks=0)
    view = conversation([1.0, 4.0, 2.0, 3.0, 0.0])
    assert kept(policy, view, 4) == [{4, 5, 6, 14}]
    assert kept(policy, view, 6) == [{4, 5, 6, 12, 13, 14}]
    assert kept(policy, view, 11) == [{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}]


def test_a_sentence_that_does_not_fit_is_passed_over_for_one_that_does() -> None:
    policy = SentenceKV(window=1, num_sinks=0)
    view = conversation([2.0, 1.0, 4.0, 3.0, 0.0])
    # 5 tokens do not fit beside the newest; 2 do; the room that is left begins the best sentence
    assert kept(policy, view, 5) == [{7, 8, 12, 13, 14}]
    assert kept(policy, view, 7) == [{7, 8, 9, 10, 11, 14, 12}]


def test_it_is_the_mean_key_that_counts_not_the_best_one() -> None:
    keys = torch.zeros(1, 7, 2)
    keys[0, :, 0] = torch.tensor([9.0, -6.0, -6.0, 2.0, 2.0, 2.0, 0.0])
    view = layer_of(
        keys,
        queries=torch.tensor([[[1.0, 0.0]]]),
        notes={"sentence": torch.tensor([[0.0, 0, 0, 1, 1, 1, 2]])},
    )
    assert kept(SentenceKV(window=1, num_sinks=0), view, 4) == [{3, 4, 5, 6}]


def test_sink_tokens_stay() -> None:
    assert kept(SentenceKV(window=1, num_sinks=2), conversation([0.0, 4.0, 2.0, 3.0, 0.0]), 3) == [{0, 1, 14}]


def test_without_sentences_tokens_are_chosen_one_by_one() -> None:
    view = random_layer(30, 1, kv_heads=1, groups=1)
    answers = (view.keys[0] @ view.queries[0, 0])[:29]
    wanted = set(answers.argsort(descending=True)[:9].tolist()) | {29}
    assert kept(SentenceKV(window=1, num_sinks=0), view, 10) == [wanted]


def test_small_parameters_keep_the_promise_of_the_role() -> None:
    check_policy(SentenceKV(window=1, num_sinks=0))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"num_sinks": -1}])
def test_wrong_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SentenceKV(**wrong)
