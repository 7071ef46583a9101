"""Attention over kept tokens equals a plain loop in float64, and parts merge into one softmax."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engramos.activation.attention import attend, attend_part, merged

torch.set_num_threads(1)
HEAD_DIM = 4


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_attention(query: Tensor, keys: Tensor, values: Tensor, seen: list[bool], added: list[float]) -> list[float]:
    """Return the attention of one query, by the plain definition in float64; it sees one key at least."""
    scores = [
        sum(float(a) * float(b) for a, b in zip(query, key, strict=True)) / 2 + more
        for key, more in zip(keys, added, strict=True)
    ]
    top = max(score for score, is_seen in zip(scores, seen, strict=True) if is_seen)
    weights = [math.exp(score - top) if is_seen else 0.0 for score, is_seen in zip(scores, seen, strict=True)]
    total = sum(weights)
    return [
        sum(weight * float(value[at]) for weight, value in zip(weights, values, strict=True)) / total
        for at in range(values.shape[1])
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    gaps=st.lists(st.integers(1, 4), min_size=1, max_size=14),
    num_queries=st.integers(1, 4),
    window=st.none() | st.integers(1, 12),
    has_bias=st.booleans(),
    missing=st.integers(0, 4),
)
def test_attention_is_that_of_a_loop_with_windows_bias_and_padding(
    seed: int,
    kv_heads: int,
    groups: int,
    gaps: list[int],
    num_queries: int,
    window: int | None,
    has_bias: bool,
    missing: int,
) -> None:
    num = len(gaps)
    row = torch.tensor(gaps).cumsum(0)
    positions = row.repeat(kv_heads, 1)
    # the last head is shorter, and filled up
    positions[-1, num - min(missing, num - 1) :] = -1
    keys, values = numbers(seed, kv_heads, num, HEAD_DIM), numbers(seed + 1, kv_heads, num, HEAD_DIM)
    queries = numbers(seed + 2, kv_heads * groups, num_queries, HEAD_DIM)
    # every query stands at or after some token of each head, close enough for any window
    last = int(row[num - 1 - min(missing, num - 1)])
    at = torch.full((num_queries,), last)
    bias = numbers(seed + 3, kv_heads, num) if has_bias else None
    found = attend(queries, at, keys, values, positions, 0.5, window=window, bias=bias)
    for head in range(kv_heads * groups):
        of = head // groups
        for place in range(num_queries):
            seen = [
                0 <= int(one) <= last and (window is None or int(one) > last - window) for one in positions[of].tolist()
            ]
            added = bias[of].tolist() if bias is not None else [0.0] * num
            wanted = slow_attention(queries[head, place], keys[of], values[of], seen, added)
            torch.testing.assert_close(found[head, place], torch.tensor(wanted), rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), before=st.integers(0, 9), num_queries=st.integers(1, 5), groups=st.integers(1, 3))
def test_what_is_known_to_be_seen_changes_nothing(seed: int, before: int, num_queries: int, groups: int) -> None:
    num = before + num_queries
    keys, values = numbers(seed, 2, num, HEAD_DIM), numbers(seed + 1, 2, num, HEAD_DIM)
    queries = numbers(seed + 2, 2 * groups, num_queries, HEAD_DIM)
    positions, at = torch.arange(num)[None], torch.arange(before, num)
    told = attend(queries, at, keys, values, positions, 0.5, num_before=before)
    torch.testing.assert_close(told, attend(queries, at, keys, values, positions, 0.5), rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_queries=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    is_masked=st.booleans(),
)
def test_parts_merge_into_one_softmax(
    seed: int, num_queries: int, sizes: list[int], scale: float, is_masked: bool
) -> None:
    num = sum(sizes)
    queries = scale * numbers(seed, 2, num_queries, HEAD_DIM)
    keys, values = numbers(seed + 1, 2, num, HEAD_DIM), numbers(seed + 2, 2, num, HEAD_DIM)
    mask = numbers(seed + 3, 2, num_queries, num) > 0 if is_masked else torch.ones(2, num_queries, num).bool()
    mask[..., 0] = True
    scores = (queries.double() @ keys.double().transpose(1, 2) / 2).masked_fill(~mask, float("-inf"))
    wanted = torch.softmax(scores, dim=-1) @ values.double()
    parts = [
        attend_part(queries, one, other, 0.5, seen)
        for one, other, seen in zip(keys.split(sizes, 1), values.split(sizes, 1), mask.split(sizes, 2), strict=True)
    ]
    found = parts[0]
    for part in parts[1:]:
        found = merged(found, part)
    torch.testing.assert_close(found[0].double(), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1].double(), torch.logsumexp(scores, -1), rtol=1e-4, atol=1e-4)


def test_a_query_that_sees_nothing_in_either_part_has_zeros() -> None:
    queries, keys, values = numbers(0, 1, 2, HEAD_DIM), numbers(1, 1, 3, HEAD_DIM), numbers(2, 1, 3, HEAD_DIM)
    part = attend_part(queries, keys, values, 0.5, torch.zeros(1, 2, 3).bool())
    out, total = merged(part, part)
    assert out.tolist() == torch.zeros(1, 2, HEAD_DIM).tolist()
    assert total.tolist() == [[float("-inf")] * 2]


def test_a_part_that_is_not_seen_leaves_the_other_as_it_was() -> None:
    queries, keys, values = numbers(0, 1, 2, HEAD_DIM), numbers(1, 1, 3, HEAD_DIM), numbers(2, 1, 3, HEAD_DIM)
    nothing = attend_part(queries, keys, values, 0.5, torch.zeros(1, 2, 3).bool())
    part = attend_part(queries, keys, values, 0.5)
    for one, other in ((part, nothing), (nothing, part)):
        assert merged(one, other)[0].equal(part[0])
