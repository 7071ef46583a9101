"""Squeezed Attention, A2ATS and SpeCache: approximate scores of single tokens."""

import pytest
import torch
from tests.unit.activation.recall.views import ask, one_hot, view_of

from engramos.activation.recall._clusters import clustered, means_of
from engramos.activation.recall.a2ats import A2ATS
from engramos.activation.recall.base import Filed
from engramos.activation.recall.specache import SpeCache, packed, unpacked
from engramos.activation.recall.squeezed_attention import SqueezedAttention, first_of
from engramos.activation.rope import Rope
from engramos.errors import ConfigError


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_tokens_of_one_direction_come_back_wherever_they_stand() -> None:
    keys = random(1, 96, 8)
    at = [3, 17, 40, 41, 90]
    keys[0, at] = one_hot(2, 8, 6.0) + 0.1 * random(5, 8, seed=1)
    method = SqueezedAttention(segment=96, share=0.1)
    filed = method.file(view_of(keys), Filed())
    assert filed.tensors["open.keys"].numel() == 0
    recalled = ask(method, filed, one_hot(2, 8)[None, None], 24)
    assert recalled.places is not None
    assert set(at) <= set(recalled.places[0].tolist())


def test_a_cluster_keeps_the_mean_of_its_keys_not_of_their_directions() -> None:
    keys = torch.zeros(1, 8, 2)
    keys[0, :4], keys[0, 4:] = one_hot(0, 2), one_hot(1, 2)
    keys[0, 1] *= 9
    method = SqueezedAttention(segment=8, share=0.25)
    filed = method.file(view_of(keys), Filed())
    centroids = sorted(filed.tensors["centroids"][0, :2].tolist())
    assert centroids == [[0.0, 1.0], [3.0, 0.0]]


def test_whole_clusters_come_first_and_of_the_next_its_first_tokens() -> None:
    owners = torch.tensor([0, 1, 2, 1, 0, 2, 2])
    sizes = torch.tensor([2, 2, 3])
    assert first_of(owners, torch.tensor([1, 2, 0]), sizes, 4).tolist() == [1, 2, 3, 5]
    assert first_of(owners, torch.tensor([1, 2, 0]), sizes, 7).tolist() == list(range(7))


def test_clusters_find_groups_that_lie_apart() -> None:
    points = torch.cat((random(1, 20, 3) * 0.1, random(1, 20, 3, seed=1) * 0.1 + 5), dim=1)
    centroids, owners = clustered(points, 2, 5)
    assert owners[0, :20].unique().numel() == owners[0, 20:].unique().numel() == 1
    assert int(owners[0, 0]) != int(owners[0, 30])
    torch.testing.assert_close(centroids[0, int(owners[0, 0])], points[0, :20].mean(0), atol=1e-5, rtol=0)
    means, sizes = means_of(points, owners, 3)
    assert sizes[0].sort().values.tolist() == [0, 20, 20]
    assert bool(means.isfinite().all())


def test_scores_of_codes_are_near_the_scores_of_the_keys() -> None:
    keys, query = random(2, 700, 16), random(4, 1, 16, seed=2)
    method = A2ATS(calibration=256, part=4)
    filed = method.file(view_of(keys), Filed())
    found = method._approximate(filed, query.unflatten(0, (2, 2))[:, :, 0])
    exact = torch.einsum("hgd,htd->hgt", query.unflatten(0, (2, 2))[:, :, 0], keys)
    for head in range(2):
        for group in range(2):
            likeness = torch.corrcoef(torch.stack((found[head, group], exact[head, group])))[0, 1]
            assert float(likeness) > 0.9


def test_keys_that_all_have_a_code_are_scored_exactly() -> None:
    different = random(1, 256, 16)
    keys = torch.cat((different, different[:, 50:90]), dim=1)
    method = A2ATS(calibration=256, part=4)
    filed = method.file(view_of(keys), Filed())
    query = random(1, 1, 16, seed=1)
    exact = torch.einsum("hgd,htd->hgt", query, keys)
    torch.testing.assert_close(method._approximate(filed, query), exact, atol=1e-3, rtol=1e-3)


def test_errors_are_smaller_where_queries_look() -> None:
    keys, direction = random(1, 2_000, 8), torch.cat((torch.full((4,), 0.1), torch.full((4,), 3.0)))
    queries = random(1, 1_024, 8, seed=1) * direction
    asked = random(1, 50, 8, seed=2) * direction
    exact, errors = asked @ keys.transpose(1, 2), []
    for known in (queries, None):
        view = view_of(keys, queries=known)
        method = A2ATS(calibration=1_024, part=8)
        filed = method.file(view, Filed())
        errors.append(float((method._approximate(filed, asked) - exact).square().mean()))
    assert errors[0] < 0.8 * errors[1]


def test_the_past_is_scored_as_if_it_stood_at_one_distance() -> None:
    rope = Rope.plain(16, 100.0)
    plain = random(1, 40, 16)
    # the same tokens at the beginning and far from it
    both = [view_of(rope.rotate(plain, torch.arange(s, s + 40)), start=s, rope=rope) for s in (0, 5_000)]
    chosen = []
    for view in both:
        method = A2ATS(distance=64)
        filed = method.file(view, Filed())
        query = rope.rotate(random(1, 1, 16, seed=4), torch.tensor([9_000]))
        asked = view_of(torch.zeros(1, 1, 16), queries=query, start=8_999, rope=rope)
        chosen.append(method.select(asked, filed, 5).places)
    assert torch.equal(chosen[0], chosen[1])


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("size", [1, 4, 7, 16])
def test_packed_codes_come_back(bits: int, size: int) -> None:
    codes = torch.randint(0, 2**bits, (3, 5, size), dtype=torch.uint8)
    small = packed(codes, bits)
    assert small.shape[-1] == -(-size * bits // 8)
    assert torch.equal(unpacked(small, bits)[..., :size], codes)


@pytest.mark.parametrize(("bits", "most"), [(2, 0.5), (1, 1.2)])
def test_scores_of_the_copy_are_those_of_rounded_keys(bits: int, most: float) -> None:
    keys, query = random(1, 64, 6), random(1, 2, 6, seed=1)
    method = SpeCache(bits=bits, group=32)
    filed = method.file(view_of(keys), Filed())
    found = torch.cat(method._scores(filed, query), dim=-1)
    expected = torch.zeros(2, 64, dtype=torch.float64)
    for token in range(64):
        group = keys[0, token // 32 * 32 : token // 32 * 32 + 32].double()
        for channel in range(6):
            column = group[:, channel]
            if bits == 2:
                low, step = column.min(), (column.max() - column.min()) / 3
            else:
                spread = (column - column.mean()).abs().mean()
                low, step = column.mean() - spread, 2 * spread
            low, step = float(low.bfloat16()), float(step.bfloat16())
            code = min(2**bits - 1, max(0, round((float(keys[0, token, channel]) - low) / step)))
            for group_head in range(2):
                expected[group_head, token] += float(query[0, group_head, channel]) * (low + step * code)
    torch.testing.assert_close(found[0].double(), expected, atol=1e-4, rtol=1e-4)
    exact = (query @ keys.transpose(1, 2))[0].double()
    assert float((found[0] - exact).abs().mean()) < most * float(exact.abs().mean())


def test_what_the_next_pass_will_want_is_what_the_newest_query_wants() -> None:
    keys = torch.zeros(1, 64, 4)
    keys[0, 5], keys[0, 50] = one_hot(0, 4, 9.0), one_hot(1, 4, 9.0)
    method = SpeCache(group=8)
    filed = method.file(view_of(keys), Filed())
    queries = torch.stack([one_hot(0, 4, 3.0)] * 5 + [one_hot(1, 4, 3.0)])[None]
    view = view_of(torch.zeros(1, 1, 4), queries=queries, start=100)
    assert method.ahead(view, filed, 1).tolist() == [[50]]
    chosen = method.select(view, filed, 1).places
    assert chosen is not None
    assert chosen.tolist() == [[5]]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (SqueezedAttention, {"segment": 0}),
        (SqueezedAttention, {"share": 0.0}),
        (SqueezedAttention, {"share": 1.1}),
        (SqueezedAttention, {"segment": 10_000_000}),
        (SqueezedAttention, {"rounds": -1}),
        (A2ATS, {"part": 0}),
        (A2ATS, {"calibration": 255}),
        (A2ATS, {"distance": -1}),
        (A2ATS, {"rounds": -1}),
        (SpeCache, {"bits": 3}),
        (SpeCache, {"group": 0}),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(method: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        method(**wrong)
