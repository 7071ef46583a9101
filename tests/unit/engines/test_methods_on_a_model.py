"""Every policy and every codec, by name, on a tiny model: adding a file to the folder adds it here."""

import pytest
import torch

from engramos.activation.budgets import Budget
from engramos.activation.codecs import ROLE as CODECS
from engramos.activation.keeping import Keeping
from engramos.activation.kv_encoding import decode, encode
from engramos.activation.policies import ROLE as POLICIES
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

TEXT = "The lighthouse keeper wrote a letter to Ana about the storm. She answered in May. " * 5


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def hosted(request) -> Transformers:
    return Transformers.of(tiny_model(request.param), tiny_tokenizer(), weights="tiny", block_tokens=150)


@pytest.mark.parametrize("name", POLICIES.names())
def test_a_policy_keeps_its_budgets_while_it_reads_and_while_it_answers(name: str, hosted: Transformers) -> None:
    policy = POLICIES.make(name)
    # enough while tokens are produced for what was kept of the prompt
    cache = hosted.new_cache(Keeping(policy, Budget(ratio=0.25), Budget(num_tokens=120)))
    token_ids = hosted.tokens(TEXT)
    scores = hosted.prefill(token_ids, cache)
    layers = [layer for layer in cache.memory_layers if layer.shape.window is None]

    def mean_kept() -> float:
        heads = [len(one) for layer in layers for one in layer.stretches for _ in range(one.kv_heads)]
        return sum(heads) / len(heads)

    assert mean_kept() <= (0.25 * len(token_ids) if "prefill" in policy.acts_in else len(token_ids))
    pieces = list(hosted.generate(scores, cache, Sampling(max_tokens=60)))
    assert mean_kept() <= 121 or "decode" not in policy.acts_in
    assert cache.num_tokens == len(token_ids) + sum(len(piece.token_ids) for piece in pieces) - (
        pieces[-1].reason == "max_tokens"
    )


@pytest.mark.parametrize("name", CODECS.names())
def test_a_codec_gives_back_a_cube_that_answers(name: str, hosted: Transformers) -> None:
    cache = hosted.new_cache()
    hosted.prefill(hosted.tokens(TEXT), cache)
    kv, ropes = hosted.detach(cache), [shape.rope for shape in hosted.shapes]
    back = decode(encode(kv, name, name, ropes, fingerprint=dict(hosted.fingerprint)), ropes)
    assert back.token_ids == kv.token_ids
    for layer, stored in zip(back.layers, kv.layers, strict=True):
        assert layer.keys.shape == stored.keys.shape
        error = float((layer.keys - stored.keys).norm() / stored.keys.norm())
        assert error < (0.03 if name in ("full", "int8", "fp8") else 0.8)
    scores = hosted.prefill(hosted.tokens("What did she answer?"), hosted.attach(back))
    assert torch.isfinite(scores).all()
