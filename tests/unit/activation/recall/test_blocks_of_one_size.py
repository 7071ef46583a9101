"""InfLLM, ActQKV, ReKV and Quest: what describes a block, and which block comes back."""

import pytest
import torch
from tests.unit.activation.recall.views import ask, one_hot, view_of

from engramos.activation.recall.actqkv import ActQKV, weighted_probe
from engramos.activation.recall.base import Filed
from engramos.activation.recall.full import Full
from engramos.activation.recall.infllm import InfLLM
from engramos.activation.recall.quest import Quest, upper_bound
from engramos.activation.recall.rekv import ReKV
from engramos.errors import ConfigError


def places(recalled) -> list[list[int]]:
    assert recalled.places is not None
    return recalled.places.tolist()


def test_a_block_is_judged_by_the_tokens_that_received_attention() -> None:
    keys = torch.zeros(1, 8, 4)
    keys[0, 1] = one_hot(0, 4, 9.0)  # the best answer, but nobody looked at it
    keys[0, 6] = one_hot(0, 4, 2.0)
    received = torch.tensor([5.0, 0, 0, 0, 0, 0, 5.0, 0])
    method = InfLLM(block_size=4, num_representatives=1)
    filed = method.file(view_of(keys, received=received), Filed())
    assert places(ask(method, filed, one_hot(0, 4)[None, None], 4)) == [[4, 5, 6, 7]]


def test_without_attention_the_shortest_keys_stand_for_a_block() -> None:
    keys = torch.full((1, 8, 4), 3.0)
    keys[0, 2] = one_hot(1, 4)
    keys[0, 5] = one_hot(0, 4)
    method = InfLLM(block_size=4, num_representatives=1)
    filed = method.file(view_of(keys), Filed())
    assert places(ask(method, filed, one_hot(0, 4)[None, None], 4)) == [[4, 5, 6, 7]]
    assert places(ask(method, filed, one_hot(1, 4)[None, None], 4)) == [[0, 1, 2, 3]]


def test_the_mean_of_representatives_scores_as_the_sum_over_them_does() -> None:
    keys, received, query = torch.randn(2, 24, 8), torch.rand(24), torch.randn(4, 1, 8)
    method = InfLLM(block_size=6, num_representatives=3)
    filed = method.file(view_of(keys, received=received), Filed())
    chosen = places(ask(method, filed, query, 6))
    for head in range(2):
        scores = torch.zeros(4, dtype=torch.float64)
        for group in range(2):
            sums = []
            for block in range(4):
                part = keys[head, 6 * block : 6 * block + 6].double()
                best = received[6 * block : 6 * block + 6].topk(3).indices
                sums.append(sum(float(query[2 * head + group, 0].double() @ part[at]) for at in best) / 3)
            scores += torch.softmax(torch.tensor(sums, dtype=torch.float64), 0)
        first = 6 * int(scores.argmax())
        assert chosen[head] == list(range(first, first + 6))


def test_the_newest_tokens_can_be_chosen_before_their_block_is_whole() -> None:
    keys = torch.zeros(1, 10, 4)
    keys[0, 9] = one_hot(0, 4)
    method = InfLLM(block_size=4)
    filed = method.file(view_of(keys), Filed())
    assert places(ask(method, filed, one_hot(0, 4)[None, None], 2)) == [[8, 9]]


def test_an_unusual_query_weighs_more_than_the_others_together() -> None:
    queries = torch.stack([one_hot(0, 4)] * 9 + [one_hot(1, 4)])[None]
    queries = queries + 0.01 * torch.randn(queries.shape, generator=torch.Generator().manual_seed(0))
    probe = weighted_probe(view_of(torch.zeros(1, 1, 4), queries=queries))[0, 0]
    mean = queries[0].mean(0)
    assert float(mean[0]) > 8 * float(mean[1])
    assert float(probe[1]) > 2 * float(mean[1])


def test_one_query_is_its_own_probe() -> None:
    query = torch.randn(2, 1, 4)
    torch.testing.assert_close(weighted_probe(view_of(torch.zeros(1, 1, 4), queries=query))[0], query[:, 0])


def test_a_layer_that_knows_what_it_wants_takes_less() -> None:
    keys = torch.zeros(1, 64, 4)
    keys[0, 20:24] = one_hot(0, 4, 50.0)
    method = ActQKV(block_size=4, spread=2.0, least=0.1)
    filed = method.file(view_of(keys), Filed())
    query = one_hot(0, 4)[None, None]
    assert len(places(ask(method, filed, query, 40))[0]) == 8
    assert len(places(ask(method, filed, 0 * query, 40))[0]) == 40
    assert len(places(ask(method, filed, query, 40, phase="prefill"))[0]) == 40


def test_all_heads_of_a_layer_get_the_same_blocks_from_rekv() -> None:
    keys, method = torch.randn(3, 40, 8), ReKV(block_size=8)
    filed = method.file(view_of(keys), Filed())
    query = torch.randn(6, 2, 8)
    first, second, third = places(ask(method, filed, query, 16))
    assert first == second == third
    flat = torch.nn.functional.normalize(query, dim=-1).mean(1) * query.norm(dim=-1).mean(1)[:, None]
    cosines = []
    for block in range(5):
        mean = keys[:, 8 * block : 8 * block + 8].mean(1).repeat_interleave(2, 0)
        cosines.append(float(torch.cosine_similarity(flat.flatten(), mean.flatten(), dim=0)))
    best = sorted(range(5), key=lambda block: -cosines[block])[:2]
    assert first == [place for block in sorted(best) for place in range(8 * block, 8 * block + 8)]


def test_the_bound_of_a_page_is_at_least_the_score_of_each_of_its_keys() -> None:
    keys, query = torch.randn(2, 50, 16, 8), torch.randn(2, 3, 8)
    bound = upper_bound(query, keys.amin(2), keys.amax(2))
    scores = torch.einsum("hgd,hptd->hgpt", query, keys).amax(-1)
    assert bool((bound >= scores - 1e-4).all())
    expected = sum(
        max(float(query[1, 2, d] * keys[1, 7, :, d].min()), float(query[1, 2, d] * keys[1, 7, :, d].max()))
        for d in range(8)
    )
    assert float(bound[1, 2, 7]) == pytest.approx(expected, rel=1e-4)


def test_a_page_with_one_good_key_beats_a_page_of_middling_ones() -> None:
    keys = torch.zeros(1, 8, 4)
    keys[0, :4] = one_hot(1, 4)
    keys[0, 1] = one_hot(2, 4, 3.0)
    keys[0, 4:] = one_hot(2, 4, 2.0)
    query = one_hot(2, 4)[None, None]
    for method, first in ((Quest(page_size=4), 0), (ReKV(block_size=4), 4)):
        filed = method.file(view_of(keys), Filed())
        assert places(ask(method, filed, query, 4)) == [list(range(first, first + 4))]


def test_the_floor_gives_the_newest_back() -> None:
    filed = Full().file(view_of(torch.zeros(2, 10, 4)), Filed())
    view = view_of(torch.zeros(2, 1, 4), queries=torch.zeros(2, 1, 4))
    assert places(Full().select(view, filed, 3)) == [[7, 8, 9]] * 2
    assert places(Full().select(view, filed, 99)) == [list(range(10))] * 2


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (InfLLM, {"block_size": 0}),
        (InfLLM, {"num_representatives": 0}),
        (ActQKV, {"block_size": 0}),
        (ActQKV, {"num_representatives": 0}),
        (ActQKV, {"spread": 0.0}),
        (ActQKV, {"least": 0.0}),
        (ActQKV, {"least": 1.5}),
        (ReKV, {"block_size": 0}),
        (Quest, {"page_size": 0}),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(method: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        method(**wrong)
