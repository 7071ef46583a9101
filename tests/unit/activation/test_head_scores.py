import pytest
import torch

from engramos.activation._head_scores import echo_scores, induction_scores, protected_heads, retrieval_scores
from engramos.errors import InvalidInputError


def looking(back: int, num: int = 24) -> torch.Tensor:
    """Return (1, 1, queries, tokens) weights of a head that looks so many tokens back with 0.6, else at itself."""
    weights = torch.eye(num)
    for query in range(back, num):
        weights[query] *= 0.4
        weights[query, query - back] += 0.6
    return weights[None, None]


def test_an_echo_head_looks_at_the_copy_of_the_token_it_reads() -> None:
    assert echo_scores(looking(8), 8).tolist() == pytest.approx([0.6])
    assert induction_scores(looking(8), 8).tolist() == pytest.approx([0.0])


def test_an_induction_head_looks_at_the_token_after_that_copy() -> None:
    assert induction_scores(looking(7), 8).tolist() == pytest.approx([0.6])
    assert echo_scores(looking(7), 8).tolist() == pytest.approx([0.0])


def test_every_earlier_copy_counts() -> None:
    # looking two repetitions back works for the third one alone, half of the queries that have a copy
    assert echo_scores(looking(16), 8).tolist() == pytest.approx([0.3])
    assert induction_scores(looking(15), 8).tolist() == pytest.approx([0.3])


def test_the_strongest_group_speaks_for_its_kv_head() -> None:
    heads = torch.cat((looking(8), looking(3)))
    grouped = torch.stack((torch.cat((looking(3)[0], looking(8)[0])), torch.cat((looking(3)[0], looking(2)[0]))))
    assert echo_scores(heads, 8).tolist() == pytest.approx([0.6, 0.0])
    assert echo_scores(grouped, 8).tolist() == pytest.approx([0.6, 0.0])


def test_a_score_is_what_loops_over_queries_and_copies_find() -> None:
    weights = torch.rand(2, 3, 10, 17, generator=torch.Generator().manual_seed(0))
    weights /= weights.sum(dim=-1, keepdim=True)
    for shift, found in ((0, echo_scores(weights, 5)), (1, induction_scores(weights, 5))):
        for head in range(2):
            means = []
            for group in range(3):
                total = 0.0
                for query in range(10):
                    copies = range(query + 7 - 5, -1, -5)
                    total += sum(float(weights[head, group, query, copy + shift]) for copy in copies)
                means.append(total / 10)
            assert float(found[head]) == pytest.approx(max(means), rel=1e-5)


def test_a_retrieval_score_counts_hits_of_the_strongest_attention() -> None:
    assert retrieval_scores(looking(7), 8).tolist() == [1.0]
    half = looking(7)
    half[0, 0, 16:] = torch.eye(24)[16:]
    assert retrieval_scores(half, 8).tolist() == [0.5]
    assert retrieval_scores(looking(8), 8).tolist() == [0.0]


def test_protected_heads_are_the_first_of_both_lists() -> None:
    induction = torch.arange(20.0).reshape(10, 2)
    echo = torch.zeros(10, 2)
    echo[2, 1] = 1.0
    chosen = protected_heads(echo, induction)
    assert torch.nonzero(chosen).tolist() == [[2, 1], [8, 1], [9, 0], [9, 1]]


@pytest.mark.parametrize(("repeat", "num"), [(1, 24), (24, 24), (40, 24)])
def test_a_text_without_repetition_is_refused(repeat: int, num: int) -> None:
    with pytest.raises(InvalidInputError, match="twice or more"):
        echo_scores(looking(3, num), repeat)
