"""KVMerger and CAMELoT: tokens of the method's own making."""

import pytest
import torch
from tests.unit.activation.recall.views import ask, one_hot, view_of

from engramos.activation.recall.base import Filed
from engramos.activation.recall.camelot import Camelot, leaders_of
from engramos.activation.recall.kv_merger import KVMerger, merged
from engramos.activation.rope import Rope
from engramos.errors import ConfigError


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_set_is_merged_by_gaussian_weights_around_its_pivot() -> None:
    keys, values = random(5, 4), random(5, 3, seed=1)
    rank = torch.tensor([0.0, 3.0, 1.0, 9.0, 2.0])
    owners = torch.tensor([0, 0, 0, 1, 1])
    found = merged(keys, values, torch.tensor([10, 11, 12, 13, 14]), rank, owners)
    assert found.positions.tolist() == [11, 13]
    assert found.weights.tolist() == [3, 2]
    for number, (members, pivot) in enumerate((([0, 1, 2], 1), ([3, 4], 3))):
        squares = [float((keys[at].double() - keys[pivot].double()).square().sum()) for at in members]
        width = sum(squares) / len(members)
        weights = [torch.tensor(-one / (2 * width), dtype=torch.float64).exp() for one in squares]
        for made, held in ((found.keys, keys), (found.values, values)):
            expected = sum(w * held[at].double() for w, at in zip(weights, members, strict=True)) / sum(weights)
            torch.testing.assert_close(made[number].double(), expected, atol=1e-5, rtol=1e-5)


def test_neighbours_with_like_keys_become_one_and_others_stay() -> None:
    keys = torch.stack([one_hot(axis, 4, 2.0) for axis in (0, 0, 0, 1, 2, 2)])[None]
    method = KVMerger()
    filed = method.file(view_of(keys), Filed())
    recalled = ask(method, filed, one_hot(0, 4)[None, None], 9)
    assert recalled.weights is not None
    assert recalled.positions is not None
    assert recalled.keys is not None
    assert recalled.weights.tolist() == [[3, 1, 2]]
    assert recalled.positions.tolist() == [[0, 3, 4]]
    assert recalled.keys[0].tolist() == [one_hot(axis, 4, 2.0).tolist() for axis in (0, 1, 2)]


def test_heads_merge_each_for_itself_and_the_shorter_is_filled_up() -> None:
    keys = torch.stack((torch.ones(6, 4), torch.eye(4).repeat(2, 1)[:6]))
    method = KVMerger()
    filed = method.file(view_of(keys), Filed())
    view = view_of(torch.zeros(2, 1, 4), queries=torch.ones(2, 1, 4), start=50)
    recalled = method.select(view, filed, 9)
    assert recalled.positions is not None
    assert recalled.weights is not None
    assert recalled.positions.tolist() == [[0, -1, -1, -1, -1, -1], [0, 1, 2, 3, 4, 5]]
    assert recalled.weights.tolist() == [[6, 1, 1, 1, 1, 1], [1] * 6]


def test_a_set_has_a_greatest_size() -> None:
    method = KVMerger(most=4)
    filed = Filed()
    for start in range(0, 11, 1):
        filed = method.file(view_of(torch.ones(1, 1, 4), start=start), filed)
    recalled = ask(method, filed, torch.ones(1, 1, 4), 9)
    assert recalled.weights is not None
    assert recalled.weights.tolist() == [[4, 4, 3]]


def test_turned_keys_of_one_thing_are_merged_as_they_were_before_rotation() -> None:
    rope, plain = Rope.plain(8, 100.0), random(1, 1, 8).expand(1, 5, 8)
    view = view_of(rope.rotate(plain, torch.arange(30, 35)), start=30, rope=rope)
    method = KVMerger()
    filed = method.file(view, Filed())
    asked = view_of(torch.zeros(1, 1, 8), queries=torch.ones(1, 1, 8), start=90, rope=rope)
    recalled = method.select(asked, filed, 3)
    assert recalled.keys is not None
    torch.testing.assert_close(recalled.keys[0, 0], rope.rotate(plain[0, :1], torch.tensor([30]))[0])


def test_a_mode_is_the_average_of_its_tokens_and_counts_as_many() -> None:
    one, other = one_hot(0, 4, 3.0), one_hot(1, 4, 3.0)
    keys = torch.stack([one, other] * 32)[None]
    values = torch.arange(64.0).reshape(1, 64, 1).expand(1, 64, 4).contiguous()
    filed = Camelot().file(view_of(keys, values), Filed())
    recalled = ask(Camelot(), filed, one[None, None], 9)
    assert recalled.weights is not None
    assert recalled.values is not None
    assert recalled.positions is not None
    assert recalled.weights.tolist() == [[32, 32]]
    assert sorted(recalled.values[0, :, 0].tolist()) == pytest.approx([31.0, 32.0])
    assert recalled.positions.tolist() == [[31, 32]]


def test_when_all_modes_are_taken_the_one_longest_untouched_gives_way() -> None:
    method = Camelot(num_modes=32)
    keys = random(1, 32, 64)
    filed = method.file(view_of(keys), Filed())
    again = torch.cat((keys[:, 1:], keys[:, 1:2]), dim=1)
    filed = method.file(view_of(again, start=32), filed)
    filed = method.file(view_of(torch.cat((random(1, 1, 64, seed=9), again[:, 1:]), dim=1), start=64), filed)
    recalled = ask(method, filed, keys[0, 0][None, None], 64)
    assert recalled.keys is not None
    assert recalled.keys.shape[1] == 32
    likeness = torch.cosine_similarity(recalled.keys[0], keys[0, :1], dim=-1)
    assert float(likeness.max()) < 0.9, "the mode of the first token is still there"
    assert float(torch.cosine_similarity(recalled.keys[0], keys[0, 5:6], dim=-1).max()) > 0.99


def test_modes_are_never_more_than_allowed_and_their_bytes_do_not_grow() -> None:
    method, filed, sizes = Camelot(num_modes=64), Filed(), []
    for start in range(0, 640, 64):
        filed = method.file(view_of(random(2, 64, 16, seed=start), start=start), filed)
        sizes.append(filed.num_bytes)
    assert filed.tensors["used"].tolist() == [64, 64]
    assert len(set(sizes)) == 1


def test_tokens_of_a_batch_follow_the_earliest_that_they_are_like() -> None:
    unit = torch.stack([one_hot(axis, 3) for axis in (0, 1, 0, 2, 1)])
    assert leaders_of(unit, 0.9).tolist() == [0, 1, 0, 3, 1]


def test_likeness_is_handed_on_along_a_chain() -> None:
    angles = torch.tensor([0.0, 0.3, 0.6, 2.0])
    unit = torch.stack((angles.cos(), angles.sin()), dim=1)
    assert leaders_of(unit, 0.95).tolist() == [0, 0, 0, 3]


def test_what_waits_to_be_written_comes_back_too() -> None:
    filed = Camelot().file(view_of(random(1, 5, 8)), Filed())
    recalled = ask(Camelot(), filed, torch.ones(1, 1, 8), 9)
    assert recalled.positions is not None
    assert recalled.positions.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (KVMerger, {"similarity": -1.0}),
        (KVMerger, {"similarity": 1.1}),
        (KVMerger, {"most": 0}),
        (Camelot, {"num_modes": 31}),
        (Camelot, {"similarity": float("nan")}),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(method: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        method(**wrong)
