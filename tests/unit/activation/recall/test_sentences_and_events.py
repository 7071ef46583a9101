"""SentenceKV and EM-LLM: where segments end, and which come back."""

import pytest
import torch
from tests.unit.activation.recall.views import ask, one_hot, view_of

from engramos.activation.recall.base import Filed
from engramos.activation.recall.em_llm import EmLLM, best_split, with_neighbours
from engramos.activation.recall.sentence_kv import SentenceKV
from engramos.errors import ConfigError


def lengths(filed: Filed) -> list[int]:
    return filed.tensors["lengths"][0, : int(filed.tensors["lengths.count"])].tolist()


def test_short_sentences_are_joined_and_long_ones_cut() -> None:
    sizes = [3, 3, 10, 40, 5]
    numbers = torch.repeat_interleave(torch.arange(5), torch.tensor(sizes))
    method = SentenceKV(least=5, most=16)
    filed = method.file(view_of(torch.randn(2, 61, 4), sentence=numbers), Filed())
    # 3 + 3, then 10, then 40 as 16 + 16 + 8; the last waits for its end
    assert lengths(filed) == [6, 10, 16, 16, 8]


def test_a_sentence_is_described_by_its_mean_key() -> None:
    keys = torch.randn(2, 20, 4)
    numbers = torch.repeat_interleave(torch.arange(3), torch.tensor([9, 10, 1]))
    filed = SentenceKV().file(view_of(keys, sentence=numbers), Filed())
    torch.testing.assert_close(filed.tensors["means"][:, 0], keys[:, :9].mean(1))
    torch.testing.assert_close(filed.tensors["means"][:, 1], keys[:, 9:19].mean(1))


def test_the_sentence_that_answers_comes_back_whole() -> None:
    keys = torch.zeros(1, 36, 4)
    keys[0, 12:24] = one_hot(1, 4)
    numbers = torch.arange(36) // 12
    filed = SentenceKV().file(view_of(keys, sentence=numbers), Filed())
    recalled = ask(SentenceKV(), filed, one_hot(1, 4)[None, None], 12)
    assert recalled.places is not None
    assert recalled.places.tolist() == [list(range(12, 24))]


def surprised(num_tokens: int, *at: int) -> torch.Tensor:
    """Return little surprise everywhere but at these places."""
    surprisal = torch.rand(num_tokens, generator=torch.Generator().manual_seed(1))
    surprisal[list(at)] = 30.0
    return surprisal


def test_events_end_where_surprise_stands_out_of_its_window() -> None:
    method = EmLLM(refine="none", gamma=3.0, least=4, most=30)
    filed = method.file(view_of(torch.randn(1, 120, 4), surprisal=surprised(120, 20, 45, 50)), Filed())
    # after the last surprise an event of the greatest length; what could still end elsewhere waits
    assert lengths(filed) == [20, 25, 5, 30]
    assert filed.tensors["open.keys"].shape[1] == 40


def test_the_threshold_follows_a_window_of_the_past() -> None:
    surprisal = torch.cat(
        (torch.tensor([0.0, 2.0]).repeat(40), torch.tensor([10.0, 30.0]).repeat(40), torch.tensor([36.0]))
    )
    method = EmLLM(window=16, gamma=1.5)
    found = method._surprises(surprisal, Filed())
    expected = []
    for at in range(len(surprisal)):
        before = surprisal[max(0, at - 16) : at].double()
        mean = before.mean() if len(before) else 0
        deviation = ((before - mean) ** 2).mean().sqrt() if len(before) else 0
        expected.append(len(before) >= 2 and bool(surprisal[at].double() > mean + 1.5 * deviation))
    assert found.tolist() == expected
    assert found[80]
    assert found[-1]
    assert not found[120:160].any()


@pytest.mark.parametrize("by_conductance", [True, False])
def test_events_part_where_the_likeness_of_keys_does(by_conductance: bool) -> None:
    keys = torch.zeros(1, 30, 4)
    keys[0, :13], keys[0, 13:] = one_hot(0, 4), one_hot(1, 4)
    keys += 0.05 * torch.randn(keys.shape, generator=torch.Generator().manual_seed(0))
    assert best_split(keys, 4, 20, by_conductance=by_conductance) == 13


def test_modularity_is_that_of_two_communities() -> None:
    keys = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(3))
    edges = torch.zeros(9, 9, dtype=torch.float64)
    for head in range(2):
        for i in range(9):
            for j in range(9):
                edges[i, j] += torch.cosine_similarity(keys[head, i].double(), keys[head, j].double(), dim=0) / 2
    edges = edges.clamp_min(0).fill_diagonal_(0)
    total, worth = edges.sum(), []
    for place in range(2, 8):
        one = sum(
            edges[i, j] / total - edges[i].sum() * edges[j].sum() / total**2
            for i in range(9)
            for j in range(9)
            if (i < place) == (j < place)
        )
        worth.append(float(one))
    assert best_split(keys, 2, 7, by_conductance=False) == 2 + max(range(6), key=lambda at: worth[at])


def test_the_end_of_an_event_moves_to_where_keys_change() -> None:
    keys = torch.zeros(1, 100, 4)
    for begin, axis in ((0, 0), (16, 1), (40, 2)):
        keys[0, begin:] = one_hot(axis, 4)
    surprisal = surprised(100, 20, 40, 60, 80)
    filed = EmLLM(gamma=5.0, least=4).file(view_of(keys, surprisal=surprisal), Filed())
    assert lengths(filed)[:2] == [16, 24]


def test_neighbours_follow_the_best_events_and_the_rest_follow_them() -> None:
    order = torch.tensor([4, 0, 2, 6, 1, 3, 5])
    taken = with_neighbours(order, torch.full((7,), 10), 20)
    assert taken[:2].tolist() == [4, 0]
    assert taken[2:5].tolist() == [3, 5, 1]
    assert taken[5:].tolist() == [2, 6]


def test_the_events_beside_the_best_one_come_back_with_it() -> None:
    keys = torch.zeros(1, 100, 4)
    keys[0, 40:50] = one_hot(0, 4, 5.0)
    surprisal = surprised(100, *range(10, 100, 10))
    method = EmLLM(gamma=3.0, least=4, refine="none", contiguity=0.5)
    filed = method.file(view_of(keys, surprisal=surprisal), Filed())
    recalled = ask(method, filed, one_hot(0, 4)[None, None], 30)
    assert recalled.places is not None
    # half of the room holds one event of ten; the other half and what is left go to its neighbours
    assert recalled.places.tolist() == [list(range(30, 60))]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (SentenceKV, {"least": 0}),
        (SentenceKV, {"most": 7}),
        (EmLLM, {"gamma": float("nan")}),
        (EmLLM, {"window": 1}),
        (EmLLM, {"least": 0}),
        (EmLLM, {"most": 7}),
        (EmLLM, {"refine": "guess"}),
        (EmLLM, {"contiguity": 1.0}),
        (EmLLM, {"num_representatives": 0}),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(method: type, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        method(**wrong)
