import pytest
import torch
import transformers

from engramos.activation.budgets import Budget
from engramos.activation.fusion.blend import Blend
from engramos.activation.keeping import Keeping
from engramos.activation.policies import ROLE
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ContextLengthError, InvalidInputError, ModelMismatchError, UnsupportedError
from engramos.testing.tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer

QUESTION = "What did she answer?"


def greedy(engine: Transformers, scores, cache, num: int = 16) -> list[int]:
    sampling = Sampling(max_tokens=num)
    return [token for piece in engine.generate(scores, cache, sampling) for token in piece.token_ids]


def reference_greedy(model, token_ids: list[int], num: int = 16) -> list[int]:
    """Greedy tokens by whole forward passes over plain transformers, without any cache."""
    read, out = list(token_ids), []
    for _ in range(num):
        with torch.no_grad():
            token = int(model(torch.tensor([read]), use_cache=False).logits[0, -1].argmax())
        if token == 256:
            break
        out.append(token)
        read.append(token)
    return out


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reading_by_blocks_gives_the_scores_and_the_answer_of_the_plain_model(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture), tiny_tokenizer()
    token_ids = tokenizer.encode("A storm came up. Ana wrote of it in her letters. " * 4)
    with torch.no_grad():
        expected = model(torch.tensor([token_ids])).logits[0, -1]
    answer = reference_greedy(model, token_ids)
    engine = Transformers.of(model, tokenizer, weights="tiny", block_tokens=37)
    cache = engine.new_cache()
    scores = engine.prefill(token_ids, cache)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    assert greedy(engine, scores, cache) == answer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("num_stored", [1, 64, 150])
def test_an_attached_prefix_gives_the_answer_of_a_full_prefill(architecture: str, num_stored: int) -> None:
    engine = Transformers.of(tiny_model(architecture), tiny_tokenizer(), weights="tiny", block_tokens=64)
    token_ids = engine.tokens("The keeper told of ships and of a dog named Biscuit. " * 4 + QUESTION)
    cold = engine.new_cache()
    cold_scores = engine.prefill(token_ids, cold)
    first = engine.new_cache()
    engine.prefill(token_ids[:num_stored], first)
    warm = engine.attach(engine.detach(first))
    warm_scores = engine.prefill(token_ids[num_stored:], warm)
    torch.testing.assert_close(warm_scores, cold_scores, atol=1e-4, rtol=0)
    assert greedy(engine, warm_scores, warm) == greedy(engine, cold_scores, cold)


def test_attaching_and_answering_leaves_the_stored_tensors_as_they_were(engine, token_ids) -> None:
    cache = engine.new_cache()
    engine.prefill(token_ids, cache)
    stored = engine.detach(cache)
    before = [(layer.keys.clone(), layer.values.clone()) for layer in stored.layers]
    for _ in range(2):
        attached = engine.attach(stored, Keeping(ROLE.make("streaming_llm"), None, Budget(num_tokens=40)))
        greedy(engine, engine.prefill(engine.tokens(QUESTION), attached), attached)
    for layer, (keys, values) in zip(stored.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_two_copies_of_a_cache_do_not_see_each_other(engine, token_ids) -> None:
    cache = engine.new_cache()
    engine.prefill(token_ids, cache)
    expected = engine.prefill(engine.tokens(QUESTION), cache.copy())
    other = cache.copy()
    engine.prefill(engine.tokens("Something else altogether."), other)
    torch.testing.assert_close(engine.prefill(engine.tokens(QUESTION), cache), expected, atol=0, rtol=0)
    assert cache.num_tokens == len(token_ids) + len(engine.tokens(QUESTION))


def test_removed_tokens_take_no_bytes_with_budgets_by_head_too(engine, token_ids) -> None:
    full = engine.new_cache()
    engine.prefill(token_ids, full)
    for name in ("streaming_llm", "kvzip"):
        cache = engine.new_cache(Keeping(ROLE.make(name), Budget(ratio=0.25)))
        engine.prefill(token_ids, cache)
        assert cache.num_bytes <= 0.25 * full.num_bytes
        assert cache.num_tokens == len(token_ids)
    assert any(len({len(one) for one in layer.stretches}) > 1 for layer in cache.memory_layers)


def test_ragged_heads_answer_a_question_of_several_tokens_as_masking_would(engine, token_ids) -> None:
    cache = engine.new_cache(Keeping(ROLE.make("kvzip"), Budget(ratio=0.5)))
    engine.prefill(token_ids, cache)
    question = engine.tokens(QUESTION)
    kept = [[one.positions[0].tolist() for one in layer.stretches] for layer in cache.memory_layers]
    scores = engine.prefill(question, cache)
    whole = engine.new_cache()
    engine.prefill(token_ids, whole)
    for layer, heads in zip(whole.memory_layers, kept, strict=True):
        (stretch,) = layer.stretches
        for head, places in enumerate(heads if len(heads) > 1 else heads * layer.shape.kv_heads):
            gone = [at for at in range(len(token_ids)) if at not in set(places)]
            stretch.keys[head, gone] = 0.0
            stretch.values[head, gone] = 0.0
            stretch.positions[head, gone] = -1
        stretch._is_alike = False
    torch.testing.assert_close(scores, engine.prefill(question, whole), atol=1e-4, rtol=0)


def test_a_compact_cache_reads_without_end_in_the_same_room(engine) -> None:
    keeping = Keeping(
        ROLE.make("streaming_llm"), Budget(num_tokens=64), Budget(num_tokens=64), every_block=True, is_compact=True
    )
    cache = engine.new_cache(keeping)
    text = engine.tokens("And so the days went by, one after the other. ")
    sizes = []
    while cache.num_tokens < 3 * engine.max_tokens:
        scores = engine.prefill((text * 40)[:1000], cache)
        sizes.append((cache.num_bytes, cache.next_position))
    assert len(set(sizes)) == 1
    assert cache.next_position <= 64
    assert torch.isfinite(scores).all()
    assert len(greedy(engine, scores, cache, num=200)) <= 200
    assert cache.next_position <= 64 + 1


def test_compact_keys_stand_where_fresh_ones_would(engine, token_ids) -> None:
    keeping = Keeping(ROLE.make("streaming_llm"), Budget(num_tokens=40), is_compact=True)
    cache = engine.new_cache(keeping)
    engine.prefill(token_ids, cache)
    layer = cache.memory_layers[0]
    kept = [*range(4), *range(len(token_ids) - 36, len(token_ids))]
    fresh = engine.new_cache()
    # in the first layer a key depends on its token and its position alone
    engine.prefill([token_ids[at] for at in kept], fresh)
    torch.testing.assert_close(layer.stretches[0].keys, fresh.memory_layers[0].stretches[0].keys, atol=1e-4, rtol=0)


def test_a_prompt_longer_than_the_window_is_refused_before_any_work(engine) -> None:
    cache = engine.new_cache()
    with pytest.raises(ContextLengthError) as caught:
        engine.prefill([5] * (engine.max_tokens + 1), cache)
    assert (caught.value.num_tokens, caught.value.limit) == (engine.max_tokens + 1, engine.max_tokens)
    assert cache.num_tokens == 0


def test_an_empty_prompt_is_refused(engine) -> None:
    with pytest.raises(ConfigError, match="no tokens"):
        engine.prefill([], engine.new_cache())


@pytest.mark.parametrize("token", [-1, 261, 2**31 - 1])
def test_a_token_that_the_model_does_not_know_is_refused(engine, token: int) -> None:
    cache = engine.new_cache()
    with pytest.raises(InvalidInputError, match="none of the model's 261"):
        engine.prefill([5, token], cache)
    assert cache.num_tokens == 0


def test_a_policy_that_reads_again_judges_earlier_turns_too(engine) -> None:
    first, second = engine.tokens("The keeper wrote a letter to Ana. " * 3), engine.tokens("She answered in May. " * 3)
    cache = engine.new_cache(Keeping(ROLE.make("kvzip"), Budget(ratio=0.9)))
    engine.prefill(first, cache)
    engine.prefill(second, cache)
    kept = cache.memory_layers[0].stretches[0]
    assert len(kept) < len(first) + len(second)
    notes = kept.notes["kvzip_score"][0]
    assert bool((notes[4:] > 0).all())


def test_a_cube_of_a_model_with_other_layers_is_refused_with_what_differs(engine, token_ids) -> None:
    cache = engine.new_cache()
    engine.prefill(token_ids, cache)
    stored = engine.detach(cache)
    other = Transformers.of(tiny_model("llama_mqa", num_layers=2), tiny_tokenizer(), weights="other")
    with pytest.raises(ModelMismatchError, match="number of layers and number of heads"):
        other.attach(stored)
    half = Transformers.of(tiny_model("llama").to(torch.bfloat16), tiny_tokenizer(), weights="half")
    with pytest.raises(ModelMismatchError, match="dtype"):
        half.attach(stored)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=50), "rotary"),
        (
            transformers.Gemma2Config(
                hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
                intermediate_size=16, vocab_size=50,
            ),
            "attn_logit_softcapping",
        ),
        (
            transformers.LlamaConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50,
                rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
            ),
            "dynamic",
        ),
    ],
    ids=["learned positions", "soft cap", "rotation by length"],
)  # fmt: skip
def test_a_model_that_cannot_be_hosted_is_refused_by_name(config, why: str) -> None:
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(UnsupportedError, match=why):
        Transformers.of(model, tiny_tokenizer(), weights="x")


def test_a_model_without_its_engine_refuses_to_run(engine) -> None:
    with pytest.raises(UnsupportedError, match="without its engine"):
        engine._hosted.model(torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_answers_too(dtype) -> None:
    engine = Transformers.of(tiny_model("qwen3").to(dtype), tiny_tokenizer(), weights="x")
    cache = engine.new_cache()
    scores = engine.prefill(engine.tokens("A storm came up."), cache)
    assert torch.isfinite(scores).all()
    assert engine.fingerprint["dtype"] == str(dtype).removeprefix("torch.")
    assert engine.detach(cache).dtype == dtype


def test_the_fingerprint_tells_weights_template_and_rotation_apart() -> None:
    plain = Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="a").fingerprint
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    model = tiny_model("llama")
    model.config.rope_parameters["rope_theta"] = 5e5
    other = Transformers.of(model, tokenizer, weights="b").fingerprint
    assert {name for name in plain if plain[name] != other[name]} == {"weights", "template", "rope", "config"}


def test_a_conversation_needs_a_template() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    engine = Transformers.of(tiny_model("llama"), tokenizer, weights="a")
    with pytest.raises(UnsupportedError, match="chat template"):
        engine.chat_tokens([{"role": "user", "content": "hello"}])


def test_a_folder_and_its_model_in_memory_answer_alike(tmp_path) -> None:
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = Transformers(str(tmp_path))
    own = Transformers.of(model, tokenizer, weights="x")
    token_ids = own.chat_tokens([{"role": "user", "content": "Where is Ana?"}])
    assert loaded.chat_tokens([{"role": "user", "content": "Where is Ana?"}]) == token_ids
    torch.testing.assert_close(
        loaded.prefill(token_ids, loaded.new_cache()), own.prefill(token_ids, own.new_cache()), atol=1e-5, rtol=0
    )
    assert Transformers(str(tmp_path)).fingerprint == loaded.fingerprint


@pytest.mark.parametrize("name", ["/nowhere/model", "./missing.gguf", "~/missing-model"])
def test_a_missing_model_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        Transformers(name)


def test_an_unknown_dtype_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="int3"):
        Transformers(str(tmp_path), dtype="int3")


def test_a_batch_and_a_fusion_are_asked_of_the_engine_itself(engine) -> None:
    shared = engine.tokens("The keeper wrote a letter to Ana. ")
    prompts = [shared + engine.tokens(one) for one in ("Who wrote?", "To whom did he write it?")]
    alone = []
    for prompt in prompts:
        cache = engine.new_cache()
        alone.append(greedy(engine, engine.prefill(prompt, cache), cache, 8))
    assert engine.generate_batch(prompts, Sampling(max_tokens=8)) == alone
    cache = engine.new_cache()
    engine.prefill(shared, cache)
    piece = engine.detach(cache)
    fused = engine.fuse([piece, piece], Blend(1.0))
    whole = engine.new_cache()
    engine.prefill(shared * 2, whole)
    question = engine.tokens(QUESTION)
    torch.testing.assert_close(engine.prefill(question, fused), engine.prefill(question, whole), atol=1e-4, rtol=0)
