"""Summaries grow without being copied each time, and choices keep to the room."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.activation.recall._choice import best_segments, best_tokens, places_of, pooled
from engramos.activation.recall._filed import append, num_rows, open_tokens, rows, take_whole
from engramos.activation.recall._segments import next_end
from engramos.activation.recall.base import Filed


def test_rows_come_back_in_the_order_in_which_they_were_added() -> None:
    filed = Filed()
    parts = [torch.randn(2, size, 3) for size in (1, 5, 40, 2, 100)]
    for part in parts:
        append(filed, "rows", part)
    assert num_rows(filed, "rows") == 148
    assert torch.equal(rows(filed, "rows", parts[0]), torch.cat(parts, dim=1))


def test_a_long_stream_is_copied_rarely() -> None:
    filed, places = Filed(), []
    for _ in range(3_000):
        append(filed, "rows", torch.zeros(1, 4, 2))
        places.append(filed.tensors["rows"].shape[1])
    copies = [size for before, size in itertools.pairwise(places) if before != size]
    assert sum(copies) < 10 * 12_000
    assert places[-1] <= 12_000 * 9 // 8


def test_rows_that_were_never_added_are_none() -> None:
    assert rows(Filed(), "rows", torch.zeros(2, 7, 5)).shape == (2, 0, 5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 6))
def test_whole_blocks_and_the_open_rest_are_all_that_was_filed(sizes: list[int], size: int) -> None:
    filed, whole, begin = Filed(), [], 0
    for count in sizes:
        stretch = torch.arange(begin, begin + count).reshape(1, -1)
        whole.append(take_whole(filed, {"numbers": stretch}, size)["numbers"].flatten())
        begin += count
    rest = open_tokens(filed, "numbers").flatten()
    assert len(rest) == begin % size
    assert torch.equal(torch.cat((*whole, rest)), torch.arange(begin))


def test_segments_come_back_whole_and_the_last_one_in_part() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0, 2.0], [9.0, 1.0, 0.0, 8.0]])
    lengths = torch.tensor([4, 4, 4, 2])
    places = best_segments(scores, lengths, 9).places
    assert places is not None
    assert places[0].tolist() == [4, 5, 6, 7, 8, 9, 10, 12, 13]
    assert places[1].tolist() == [0, 1, 2, 3, 4, 5, 6, 12, 13]


def test_a_room_smaller_than_a_segment_takes_its_beginning() -> None:
    places = best_segments(torch.tensor([[0.0, 1.0]]), torch.tensor([8, 8]), 3).places
    assert places is not None
    assert places.tolist() == [[8, 9, 10]]


def test_heads_with_fewer_tokens_are_filled_up_at_the_end() -> None:
    order = torch.tensor([[0, 1], [1, 1]])[:, :1]
    assert places_of(order, torch.tensor([3, 1]), 5).tolist() == [[0, 1, 2], [3, -1, -1]]


def test_the_best_tokens_are_those_with_the_best_scores() -> None:
    places = best_tokens(torch.tensor([[5.0, 1.0, 4.0], [0.0, 1.0, 2.0]]), 2).places
    assert places is not None
    assert places.tolist() == [[0, 2], [1, 2]]


def test_scores_of_query_heads_are_pooled_as_the_mean_of_softmaxes() -> None:
    scores = torch.randn(2, 3, 7)
    expected = torch.zeros(2, 7, dtype=torch.float64)
    for head in range(2):
        for group in range(3):
            powers = (scores[head, group].double() * 0.3).exp()
            expected[head] += powers / powers.sum() / 3
    found = pooled(scores, 0.3).double().exp() / 3
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_scores_that_a_softmax_rounds_to_zero_keep_their_order() -> None:
    far = pooled(torch.tensor([[[1_000.0, 1.0, 3.0, 2.0]]]), 1.0)[0]
    assert far.argsort(descending=True).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("borders", "start", "after", "end"),
    [([5, 9], 0, 0, 5), ([1, 9], 0, 0, 9), ([], 0, 0, 10), ([5, 9], 5, 0, 9), ([5, 9], 0, 5, 9), ([19], 12, 0, 19)],
)
def test_a_segment_ends_at_the_first_border_that_its_bounds_allow(
    borders: list[int], start: int, after: int, end: int
) -> None:
    assert next_end(borders, start, 20, 3, 10, after) == end


def test_a_segment_without_a_border_waits_for_more_tokens() -> None:
    assert next_end([2], 0, 9, 3, 10) is None
