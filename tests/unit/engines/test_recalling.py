import pytest
import torch

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.policies import ROLE as POLICIES
from engramos.activation.recall import ROLE
from engramos.engines._layer import Pass
from engramos.engines._recalling import RecallLayer
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

QUESTION = "What did she answer?"


def recall_layers(cache) -> list[RecallLayer]:
    return [layer for layer in cache.memory_layers if isinstance(layer, RecallLayer)]


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_bringing_everything_back_gives_what_the_full_cache_gives(architecture: str) -> None:
    engine = Transformers.of(tiny_model(architecture), tiny_tokenizer(), weights="x")
    token_ids, question = engine.tokens("Ana had a dog named Biscuit. " * 8), engine.tokens(QUESTION)
    full = engine.new_cache()
    engine.prefill(token_ids, full)
    cache = engine.new_cache(Recalling(ROLE.make("full"), Budget(ratio=0.25)))
    engine.prefill(token_ids, cache)
    assert all(layer.filed.num_tokens > 100 for layer in recall_layers(cache))
    for layer in recall_layers(cache):
        layer.num_back = len(token_ids)
    torch.testing.assert_close(engine.prefill(question, cache), engine.prefill(question, full), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ROLE.names())
def test_every_method_answers_and_keeps_no_more_than_its_newest_tokens_at_hand(name: str, engine, token_ids) -> None:
    cache = engine.new_cache(Recalling(ROLE.make(name), Budget(ratio=0.5)))
    engine.prefill(token_ids, cache)
    for layer in recall_layers(cache):
        assert layer.num_tokens + layer.filed.num_tokens == len(token_ids)
        assert layer.num_tokens <= 4 + 0.05 * len(token_ids) + 1
    scores = engine.prefill(engine.tokens(QUESTION), cache)
    assert torch.isfinite(scores).all()
    assert cache.num_tokens == len(token_ids) + len(engine.tokens(QUESTION))


def test_a_stored_cube_goes_under_recall_and_answers_the_same(engine, token_ids) -> None:
    recalling = Recalling(ROLE.make("quest"), Budget(ratio=0.5))
    read = engine.new_cache(recalling)
    engine.prefill(token_ids, read)
    plain = engine.new_cache()
    engine.prefill(token_ids, plain)
    attached = engine.attach(engine.detach(plain), recalling)
    question = engine.tokens(QUESTION)
    torch.testing.assert_close(engine.prefill(question, attached), engine.prefill(question, read), atol=1e-4, rtol=0)


def test_copies_share_the_archive_until_both_write(engine, token_ids) -> None:
    cache = engine.new_cache(Recalling(ROLE.make("quest"), Budget(ratio=0.5)))
    engine.prefill(token_ids, cache)
    first, second = cache.copy(), cache.copy()
    expected = engine.prefill(token_ids, cache.copy())
    engine.prefill(engine.tokens("Quite another story, of ships and of the sea. " * 4), first)
    torch.testing.assert_close(engine.prefill(token_ids, second), expected, atol=1e-5, rtol=0)


def test_an_endless_stream_keeps_its_positions_and_its_newest_tokens(engine) -> None:
    recalling = Recalling(ROLE.make("quest"), Budget(num_tokens=128), every_block=True, is_compact=True)
    cache = engine.new_cache(recalling)
    text = engine.tokens("And so the days went by, one after the other. ")
    held = set()
    while cache.num_tokens < 2 * engine.max_tokens:
        scores = engine.prefill((text * 40)[:1000], cache)
        held.add((max(layer.num_tokens for layer in recall_layers(cache)), cache.next_position))
    assert len(held) == 1
    assert cache.next_position <= 128 + 1
    assert torch.isfinite(scores).all()
    for layer in recall_layers(cache):
        assert layer.filed.num_tokens + layer.num_tokens == cache.num_tokens
        positions = layer.stretches[0].positions
        assert bool((positions[:, 1:] > positions[:, :-1]).all())


@pytest.mark.parametrize(
    "parameters",
    [{"num_sinks": -1}, {"local_share": 0.0}, {"local_share": 1.0}, {"is_compact": True}],
)
def test_a_wrong_setting_is_refused(parameters) -> None:
    with pytest.raises(ConfigError):
        Recalling(ROLE.make("full"), Budget(ratio=0.5), **parameters)


def test_a_pruned_cube_cannot_go_under_recall(engine, token_ids) -> None:

    cache = engine.new_cache(Keeping(POLICIES.make("streaming_llm"), Budget(ratio=0.5)))
    engine.prefill(token_ids, cache)
    with pytest.raises(ConfigError, match="build it in full"):
        engine.attach(engine.detach(cache), Recalling(ROLE.make("full"), Budget(ratio=0.5)))


def test_own_keys_of_a_method_come_back_in_an_endless_stream_where_fresh_ones_would_stand(engine) -> None:
    """A memory with room for every token merges nothing: what comes back is the past itself, before the newest."""
    recall = ROLE.make("camelot", similarity=1.0)
    cache = engine.new_cache(Recalling(recall, Budget(num_tokens=96), every_block=True, is_compact=True))
    engine.prefill(engine.tokens("The keeper of the light wrote to Ana about a storm. ")[:50] * 2, cache)
    layer = recall_layers(cache)[0]
    (held,) = layer.stretches
    view = layer._viewed(held.keys.new_zeros((6, 1, 16)) + 1.0, torch.tensor([cache.next_position]), _pass())
    back = recall.select(view, layer.filed, 40)
    keys, _, positions, _ = layer._brought(back, held)
    for head in range(2):
        real = positions[head] >= 0
        assert bool(real.any())
        assert int(positions[head][real].max()) < int(held.positions[head, 4])
        raw = layer.shape.rope.unrotate(keys[head][real], positions[head][real])
        distances = torch.cdist(raw, _raw_keys(engine, layer)[head])
        assert float(distances.min(dim=1).values.max()) < 2e-2


def _pass() -> Pass:
    return Pass(torch.empty(0, dtype=torch.int64))


def _raw_keys(engine, layer) -> torch.Tensor:
    """Keys of the first layer before rotation: they depend on the token alone."""
    cache = engine.new_cache()
    engine.prefill(engine.tokens("The keeper of the light wrote to Ana about a storm. ")[:50], cache)
    (stretch,) = cache.memory_layers[0].stretches
    return layer.shape.rope.unrotate(stretch.keys, stretch.positions)
