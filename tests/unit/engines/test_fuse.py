"""Pieces fused into one cache: right where all is computed again, and the pieces themselves never change."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engramos.activation.budgets import Budget
from engramos.activation.fusion.base import Fusion
from engramos.activation.fusion.blend import Blend
from engramos.activation.fusion.concat import Concat
from engramos.activation.fusion.first_tokens import FirstTokens
from engramos.activation.fusion.rerotate import Rerotate
from engramos.activation.keeping import Keeping
from engramos.activation.kv_tensors import KVLayer, KVTensors
from engramos.activation.policies.snapkv import SnapKV
from engramos.engines._cache import MemoryCache
from engramos.engines._decoder import Decoder
from engramos.engines._fuse import divergence, divergence_of, encode_piece, fuse
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.errors import (
    ConfigError,
    ContextLengthError,
    InvalidInputError,
    ModelMismatchError,
    UnsupportedError,
)
from engramos.testing.tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer

torch.set_num_threads(1)
LENGTHS = (40, 9, 23)
QUESTION = list(b"Who was it?")
_ENGINES: dict[str, Transformers] = {}


def engine_of(architecture: str) -> Transformers:
    if architecture not in _ENGINES:
        model = tiny_model(architecture, window=12)
        _ENGINES[architecture] = Transformers.of(model, tiny_tokenizer(), weights=architecture, block_tokens=16)
    return _ENGINES[architecture]


def random_ids(lengths: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    source = random.Random(seed)
    return [[source.randrange(250) for _ in range(length)] for length in lengths]


def fused(engine: Transformers, ids: list[list[int]], fusion: Fusion) -> MemoryCache:
    return fuse(engine, [encode_piece(engine, one) for one in ids], ids, fusion)


def full_cache(engine: Transformers, ids: list[list[int]]) -> MemoryCache:
    cache = engine.new_cache()
    engine.prefill([token for one in ids for token in one], cache)
    return cache


def assert_same(found: MemoryCache, wanted: MemoryCache, tolerance: float) -> None:
    """Compare what both caches keep: sliding layers may hold more or less of what is out of their sight."""
    for one, other in zip(found.memory_layers, wanted.memory_layers, strict=True):
        mine, theirs = one.stretches[0], other.stretches[0]
        num = min(len(mine), len(theirs))
        assert num >= min(found.num_tokens, one.shape.window or found.num_tokens)
        assert mine.positions[:, -num:].tolist() == theirs.positions[:, -num:].tolist()
        torch.testing.assert_close(mine.keys[:, -num:], theirs.keys[:, -num:], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(mine.values[:, -num:], theirs.values[:, -num:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=5), seed=st.integers(0, 9), check=st.integers(1, 2))
def test_all_tokens_computed_again_are_the_full_prefill(
    architecture: str, lengths: list[int], seed: int, check: int
) -> None:
    engine = engine_of(architecture)
    ids = random_ids(tuple(lengths), seed)
    cache, wanted = fused(engine, ids, Blend(1.0, compared_at=check)), full_cache(engine, ids)
    assert_same(cache, wanted, 3e-5)
    torch.testing.assert_close(engine.prefill(QUESTION, cache), engine.prefill(QUESTION, wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_piece_is_what_a_prefill_of_it_alone_gives_with_nothing_removed(architecture: str) -> None:
    engine = engine_of(architecture)
    (ids,) = random_ids((60,))
    piece = encode_piece(engine, ids)
    assert all(layer.positions is None and layer.counts == (60,) * layer.kv_heads for layer in piece.layers)
    assert_same(engine.attach(piece), full_cache(engine, [ids]), 3e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "fusion", [Concat(), Rerotate(), FirstTokens(4), Blend(0.3)], ids=lambda one: type(one).__name__
)
def test_pieces_are_never_changed(architecture: str, fusion: Fusion) -> None:
    engine = engine_of(architecture)
    ids = random_ids(LENGTHS)
    pieces = [encode_piece(engine, one) for one in ids]
    before = [(layer.keys.clone(), layer.values.clone()) for piece in pieces for layer in piece.layers]
    cache = fuse(engine, pieces, ids, fusion)
    scores = engine.prefill(QUESTION, cache)
    list(engine.generate(scores, cache, Sampling(max_tokens=4)))
    after = [(layer.keys, layer.values) for piece in pieces for layer in piece.layers]
    assert all(one[0].equal(other[0]) and one[1].equal(other[1]) for one, other in zip(before, after, strict=True))
    assert cache.num_tokens == sum(LENGTHS) + len(QUESTION) + 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_answer_after_all_tokens_computed_again_is_that_of_the_full_prefill(architecture: str) -> None:
    engine = engine_of(architecture)
    ids = random_ids(LENGTHS)
    answers = []
    for cache in (fused(engine, ids, Blend(1.0)), full_cache(engine, ids)):
        pieces = engine.generate(engine.prefill(QUESTION, cache), cache, Sampling(max_tokens=12))
        answers.append([token for piece in pieces for token in piece.token_ids])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_turned_keys_of_the_first_layer_are_those_of_the_full_prefill(architecture: str) -> None:
    # the first layer's keys depend on the token and its position alone
    engine = engine_of(architecture)
    ids = random_ids((5, 4, 2))
    found, plain, wanted = fused(engine, ids, Rerotate()), fused(engine, ids, Concat()), full_cache(engine, ids)
    keys = [cache.memory_layers[0].stretches[0].keys for cache in (found, plain, wanted)]
    torch.testing.assert_close(keys[0], keys[2], rtol=1e-5, atol=1e-5)
    assert float((keys[1] - keys[2])[:, 5:].abs().max()) > 0.1
    assert keys[1][:, :5].equal(keys[2][:, :5])


def test_only_the_chosen_tokens_are_computed_again_after_the_check_layer() -> None:
    engine = engine_of("llama")
    ids = random_ids(LENGTHS)
    before = fused(engine, ids, Rerotate()).memory_layers[2].stretches[0]
    cache = fused(engine, ids, FirstTokens(3)).memory_layers[2].stretches[0]
    changed = (cache.values - before.values).abs().amax((0, 2))
    assert changed.nonzero().flatten().tolist() == [40, 41, 42, 49, 50, 51]


def test_a_renewed_token_is_exact_where_all_before_it_is() -> None:
    # the first token of the second piece sees the first piece alone, which is exact
    engine = engine_of("qwen3")
    ids = random_ids(LENGTHS)
    found, wanted = fused(engine, ids, FirstTokens(1)), full_cache(engine, ids)
    for one, other in zip(found.memory_layers, wanted.memory_layers, strict=True):
        torch.testing.assert_close(
            one.stretches[0].values[:, :41], other.stretches[0].values[:, :41], rtol=1e-5, atol=1e-5
        )


def test_the_tokens_that_deviate_most_at_the_check_layer_are_renewed() -> None:
    engine = engine_of("llama")
    ids = random_ids(LENGTHS)
    wanted, stored = full_cache(engine, ids).memory_layers, fused(engine, ids, Rerotate()).memory_layers
    far = [0.0] * sum(LENGTHS)
    for place in range(sum(LENGTHS)):
        for name in ("keys", "values"):
            one, other = (getattr(layers[1].stretches[0], name)[:, place].double() for layers in (wanted, stored))
            far[place] += float(((one - other) ** 2).sum())
    most = sorted(sorted(range(len(far)), key=lambda place: -far[place])[:14])
    found = fused(engine, ids, Blend(14 / sum(LENGTHS), compared_at=1)).memory_layers[2].stretches[0]
    changed = (found.values - stored[2].stretches[0].values).abs().amax((0, 2))
    assert changed.nonzero().flatten().tolist() == most


def test_more_computing_diverges_less() -> None:
    engine = engine_of("llama")
    ids = random_ids((60, 60, 60))
    whole = [token for one in ids for token in one]
    found = [
        divergence(engine, fused(engine, ids, one), whole, QUESTION)
        for one in (Concat(), Blend(0.5, compared_at=1), Blend(1.0))
    ]
    assert found[0] > found[1] > found[2]
    assert found[2] < 1e-6


def test_divergence_leaves_the_cache_as_it_was() -> None:
    engine = engine_of("mistral_sliding")
    ids = random_ids(LENGTHS)
    cache = fused(engine, ids, Rerotate())
    whole = [token for one in ids for token in one]
    assert divergence(engine, cache, whole, QUESTION) == divergence(engine, cache, whole, QUESTION)
    assert cache.num_tokens == sum(LENGTHS)


def test_divergence_is_the_mean_of_kl_over_tokens() -> None:
    wanted, found = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log(), torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    by_hand = (0.5 * torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(0.5 / 0.75))) / 2
    assert divergence_of(wanted, found) == pytest.approx(float(by_hand), abs=1e-6)


def test_divergence_without_a_continuation_is_refused() -> None:
    engine = engine_of("llama")
    with pytest.raises(ConfigError, match="continuation"):
        divergence(engine, engine.new_cache(), [1, 2], [])


def test_a_fused_cache_keeps_to_its_budget() -> None:
    engine = engine_of("llama")
    ids = random_ids(LENGTHS)
    pieces = [encode_piece(engine, one) for one in ids]
    cache = fuse(engine, pieces, ids, Blend(0.2), Keeping(SnapKV(window=4), prefill=Budget(num_tokens=20)))
    engine.prefill(QUESTION, cache)
    assert cache.kept_tokens == 20
    assert cache.next_position == sum(LENGTHS) + len(QUESTION)


def test_sliding_layers_stay_whole_so_that_a_fused_cache_can_be_stored_and_fused_again() -> None:
    engine = engine_of("mistral_sliding")
    ids = random_ids(LENGTHS)
    whole = [token for one in ids for token in one]
    piece = engine.detach(fused(engine, ids, Blend(1.0)))
    (more,) = random_ids((30,), seed=1)
    cache = fuse(engine, [piece, encode_piece(engine, more)], [whole, more], Blend(1.0))
    assert_same(cache, full_cache(engine, [whole, more]), 3e-5)


def test_a_pruned_piece_is_refused() -> None:
    engine = engine_of("llama")
    ids = random_ids((30, 20))
    cache = engine.new_cache(Keeping(SnapKV(window=4), prefill=Budget(num_tokens=10)))
    engine.prefill(ids[1], cache)
    pieces = [encode_piece(engine, ids[0]), engine.detach(cache)]
    with pytest.raises(UnsupportedError, match="piece 1"):
        fuse(engine, pieces, ids, Rerotate())


def test_a_piece_whose_sliding_layers_are_not_whole_is_refused() -> None:
    engine = engine_of("gemma3")
    ids = random_ids((80,))
    cache = full_cache(engine, ids)
    for layer in cache.memory_layers:
        layer.trim()
    with pytest.raises(UnsupportedError, match="sliding"):
        fuse(engine, [engine.detach(cache)], ids, Rerotate())


@pytest.mark.parametrize("other", ["llama_mqa", "gemma3"])
def test_a_piece_of_another_model_is_refused(other: str) -> None:
    ids = random_ids((10, 10))
    pieces = [encode_piece(engine_of(other), one) for one in ids]
    with pytest.raises(ModelMismatchError):
        fuse(engine_of("llama"), pieces, ids, Rerotate())


def test_a_piece_of_another_dtype_is_refused() -> None:
    engine = engine_of("llama")
    ids = random_ids((10,))
    piece = encode_piece(engine, ids[0])
    layers = tuple(KVLayer(one.keys.bfloat16(), one.values.bfloat16()) for one in piece.layers)
    with pytest.raises(ModelMismatchError, match="dtype"):
        fuse(engine, [KVTensors(tuple(ids[0]), layers)], ids, Rerotate())


def test_tokens_that_are_not_those_of_the_pieces_are_refused() -> None:
    engine = engine_of("llama")
    ids = random_ids((10, 10))
    pieces = [encode_piece(engine, one) for one in ids]
    for wrong in (ids[::-1], ids[:1], [*ids, [1]]):
        with pytest.raises(InvalidInputError):
            fuse(engine, pieces, wrong, Rerotate())


def test_no_pieces_and_no_tokens_are_refused() -> None:
    engine = engine_of("llama")
    with pytest.raises(ConfigError):
        fuse(engine, [], [], Rerotate())
    with pytest.raises(ConfigError):
        encode_piece(engine, [])


def test_pieces_longer_than_the_window_are_refused() -> None:
    engine = engine_of("llama")
    (ids,) = random_ids((400,))
    piece = encode_piece(engine, ids)
    with pytest.raises(ContextLengthError):
        fuse(engine, [piece] * 11, [ids] * 11, Rerotate())
    with pytest.raises(ContextLengthError):
        encode_piece(engine, ids * 11)


def test_a_model_of_few_layers_compares_at_its_last() -> None:
    engine = engine_of("llama")
    ids = random_ids(LENGTHS)
    found, last = (fused(engine, ids, Blend(0.3, compared_at=layer)) for layer in (30, 2))
    assert_same(found, last, 0.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_keys_at_the_check_layer_are_fresh_for_all_tokens(architecture: str) -> None:
    # layer 0 runs for all tokens, so that keys and values of layer 1 are those of the full prefill
    engine = engine_of(architecture)
    ids = random_ids(LENGTHS)
    found = fused(engine, ids, Blend(0.1, compared_at=1)).memory_layers[1].stretches[0]
    wanted = full_cache(engine, ids).memory_layers[1].stretches[0]
    torch.testing.assert_close(found.keys, wanted.keys, rtol=3e-5, atol=3e-5)
    torch.testing.assert_close(found.values, wanted.values, rtol=3e-5, atol=3e-5)


def test_a_model_that_does_more_between_its_layers_is_refused() -> None:
    model = tiny_model("llama", seed=3)
    engine = Transformers.of(model, tiny_tokenizer(), weights="other")

    def doubled(module: torch.nn.Module, given: tuple, named: dict) -> tuple[tuple, dict]:
        hidden = 2 * module.embed_tokens(named.pop("input_ids"))
        return given, {**named, "inputs_embeds": hidden}

    model.model.register_forward_pre_hook(doubled, with_kwargs=True)
    with pytest.raises(UnsupportedError, match="between its layers"):
        Decoder(model, engine.shapes)
