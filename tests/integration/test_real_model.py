"""A small real model, where `make models` has fetched it: what a person would see."""

import pytest
import torch

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.policies import ROLE as POLICIES
from engramos.activation.recall import ROLE as RECALL
from engramos.config import cache_folder
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers

FILE = cache_folder() / "models" / "smollm2.gguf"
FILLER = "The grass is green and the sky is blue. The sun is yellow. Here we go, there and back again. "
CONTEXT = f"{FILLER * 8}The pass key is 48213. Remember it. 48213 is the pass key. {FILLER * 8}"
QUESTION = "\n\nWhat is the pass key? The pass key is"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="no real model here: run 'make models'")


@pytest.fixture(scope="module")
def model() -> Transformers:
    torch.set_num_threads(1)
    return Transformers(str(FILE))


def answered(model: Transformers, cache, scores, num: int = 6) -> str:
    return "".join(piece.text for piece in model.generate(scores, cache, Sampling(max_tokens=num)))


def test_a_gguf_file_is_read_and_answers(model: Transformers) -> None:
    cache = model.new_cache()
    scores = model.prefill(model.tokens("The capital of France is"), cache)
    assert answered(model, cache, scores).startswith(" Paris")


def test_an_attached_context_answers_token_for_token_as_a_prefill(model: Transformers) -> None:
    context, question = model.tokens(CONTEXT), model.tokens(QUESTION)
    cold = model.new_cache()
    expected = answered(model, cold, model.prefill(context + question, cold))
    first = model.new_cache()
    model.prefill(context, first)
    warm = model.attach(model.detach(first))
    assert answered(model, warm, model.prefill(question, warm)) == expected
    assert "48213" in expected


@pytest.mark.parametrize("way", ["kvzip", "specache"])
def test_a_quarter_of_the_cache_still_knows_the_pass_key(model: Transformers, way: str) -> None:
    budget = Budget(ratio=0.25)
    is_policy = way in POLICIES.names()
    keeping = Keeping(POLICIES.make(way, chunk=64), budget) if is_policy else Recalling(RECALL.make(way), budget)
    cache = model.new_cache(keeping)
    model.prefill(model.tokens(CONTEXT), cache)
    assert "48213" in answered(model, cache, model.prefill(model.tokens(QUESTION), cache, is_last=False))
