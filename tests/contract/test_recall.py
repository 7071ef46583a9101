"""Every recall method keeps the promise of its role."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from engramos.activation.recall import ROLE
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.testing.recall import CHECKS, Past, check_recall, filed_in

torch.set_num_threads(1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_method_passes(name: str, check: Callable[[Recall], None]) -> None:
    check(ROLE.make(name))


@dataclass(frozen=True)
class Careless(Recall):
    """Gives back what scores best, or breaks one promise."""

    wrong: str = ""

    def file(self, view: LayerView, filed: Filed) -> Filed:
        keys = view.keys if self.wrong == "holds" and not filed.num_tokens else view.keys.clone()
        if self.wrong != "holds" and filed.num_tokens:
            keys = torch.cat((filed.tensors["keys"], keys), dim=1)
        if self.wrong == "notes":
            view.notes["mine"] = view.keys[..., 0]
        if self.wrong == "forgets":
            return Filed(view.num_tokens, {"keys": view.keys.clone()})
        return Filed(filed.num_tokens + view.num_tokens, {"keys": keys})

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        if not filed.num_tokens:
            return Recalled(places=torch.zeros((view.kv_heads, 0), dtype=torch.int64))
        query = view.queries.float().unflatten(0, (view.kv_heads, -1)).sum((1, 2))
        scores = torch.einsum("hd,htd->ht", query, filed.tensors["keys"].float())
        if self.wrong == "deaf":
            scores = torch.einsum("hd,htd->ht", torch.ones_like(query) * query[:, :1], filed.tensors["keys"].float())
        num = min(scores.shape[1], num_tokens + (self.wrong == "greedy"))
        best = scores.topk(num, dim=1).indices
        if self.wrong == "writes":
            view.queries.mul_(2)
        return Recalled(places=best if self.wrong == "unsorted" else best.sort(dim=1).values)


@pytest.mark.parametrize("wrong", ["holds", "notes", "forgets", "deaf", "greedy", "writes", "unsorted"])
def test_the_suite_sees_a_broken_promise(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check_recall(Careless(wrong))


def test_the_suite_finds_nothing_wrong_with_exact_scores_but_their_size() -> None:
    for check in CHECKS:
        if check.__name__ in ("check_summaries_are_small", "check_the_question_decides"):
            continue
        check(Careless())


def test_the_suite_sees_summaries_as_large_as_what_they_stand_for() -> None:
    (check,) = [one for one in CHECKS if one.__name__ == "check_summaries_are_small"]
    with pytest.raises(AssertionError, match=r"0\.500"):
        check(Careless())


def test_a_past_has_its_needle_where_it_says() -> None:
    past = Past.make(2_048)
    scores = torch.einsum("hqd,htd->ht", past.asked().queries.unflatten(0, (2, 2))[:, 0], past.keys)
    assert sorted(scores[0].topk(16).indices.tolist()) == list(range(1_037, 1_053))
    assert filed_in(Careless(), past, 700).num_tokens == 2_048
