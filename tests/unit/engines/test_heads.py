import pytest
import torch

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping
from engramos.activation.policies import ROLE
from engramos.engines._heads import head_scores
from engramos.engines.transformers import Transformers
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer


def test_scores_are_shares_of_attention_for_every_head(engine) -> None:
    scores = head_scores(engine, num_tokens=40, seed=1)
    for table in (scores.echo, scores.induction, scores.retrieval):
        assert [len(row) for row in table] == [2, 2, 2]
        assert all(0.0 <= value <= 1.0 for row in table for value in row)
    assert head_scores(engine, num_tokens=40, seed=1) == scores
    assert head_scores(engine, num_tokens=40, seed=2) != scores


def test_a_head_with_even_attention_echoes_as_much_as_one_token_gets() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[:48] = 0.0
    engine = Transformers.of(model, tiny_tokenizer(), weights="x", block_tokens=13)
    scores = head_scores(engine, num_tokens=32)
    # of a text that is read twice, the query at position p has one copy among p + 1 tokens
    even = sum(1 / (at + 1) for at in range(32, 64)) / 32
    assert scores.echo[0][0] == pytest.approx(even, rel=1e-4)
    assert scores.induction[0][0] == pytest.approx(even, rel=1e-4)
    assert scores.echo[0][1] != pytest.approx(even, rel=1e-4)


def test_found_scores_decide_which_heads_of_razor_attention_keep_more(engine, token_ids) -> None:
    heads = ((0.9, 0.0), (0.0, 0.0), (0.0, 0.8))
    cache = engine.new_cache(Keeping(ROLE.make("razor_attention", heads=heads), Budget(ratio=0.4)))
    engine.prefill(token_ids, cache)
    counts = [[len(one) for one in layer.stretches] for layer in cache.memory_layers]
    assert counts[0][0] > counts[0][1]
