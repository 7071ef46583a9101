"""Tiny random models, made in code: every supported architecture, nothing downloaded."""

from typing import Any

import torch

ARCHITECTURES = ("llama", "llama_mqa", "mistral_sliding", "qwen2", "qwen3", "gemma3")
"""Names that `tiny_model` knows."""
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")


def tiny_tokenizer() -> Any:
    """Return a tokenizer with one token a byte and a few special ones; it round-trips every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=_SPECIAL[0])
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL[1:])})
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def tiny_model(architecture: str = "llama", *, seed: int = 0, window: int = 32, num_layers: int = 3) -> Any:
    """Return a random model of this architecture: some 100,000 weights, float32, on the CPU.

    Args:
        architecture: one of `ARCHITECTURES`.
        seed: of the weights.
        window: of sliding layers, in tokens.
        num_layers: 1 or more.

    Raises:
        KeyError: if the architecture is not known.
    """
    import transformers

    shared = {
        "vocab_size": 261,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "initializer_range": 0.35,
        "bos_token_id": None,
        "eos_token_id": 256,
        "pad_token_id": None,
    }
    kinds = ["full_attention" if index % 2 else "sliding_attention" for index in range(num_layers)]
    own: dict[str, tuple[str, dict[str, Any]]] = {
        "llama": ("Llama", {}),
        "llama_mqa": ("Llama", {"num_key_value_heads": 1}),
        "mistral_sliding": ("Mistral", {"sliding_window": window}),
        "qwen2": ("Qwen2", {}),
        "qwen3": ("Qwen3", {}),
        "gemma3": ("Gemma3Text", {"sliding_window": window, "layer_types": kinds, "query_pre_attn_scalar": 16}),
    }
    name, extra = own[architecture]
    config = getattr(transformers, f"{name}Config")(**shared | extra)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(config)
    finally:
        torch.random.set_rng_state(state)
    return model.eval()
