"""Codecs of KV caches on a real model: bits a value, what the model says of it, error, time.

`ENGRAMOS_DATA=DIR python -m benchmarks.kv_codecs --model DIR --out FILE` reads some tokens of each text into a cache,
encodes and decodes it, and lets the model read on in the same text. The KL divergence is that of the next tokens'
distributions from those with the cache as it was, its mean over all tokens read on. Times are CPU of this process.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.stamp import stamp
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from engramos.activation.codecs import ROLE
from engramos.activation.codecs.base import KEYS, VALUES, Codec
from engramos.activation.rope import Rope
from engramos.activation.view import attention_weights

NUM_QUERIES = 64
"""Newest queries that codecs are given, and that importance is counted from."""
MORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("full", {"dtype": "bfloat16"}),
    ("int4", {"bits": 2}),
    ("int4", {"num_sinks": 4}),
    ("int4", {"bits": 2, "num_sinks": 4}),
    ("rotated", {"num_sinks": 4}),
    ("rotated", {"bits": 4, "num_sinks": 4}),
    ("rotated", {"bits": 2, "num_sinks": 4}),
    ("gear", {"num_sinks": 4}),
    ("rotated", {"bits": 4}),
    ("rotated", {"bits": 2}),
    ("gear", {"bits": 4}),
    ("mikv", {"low_bits": 2}),
    ("mikv", {"low_bits": 3}),
    ("think", {"kept_ratio": 0.8}),
    ("cskv", {"rank_ratio": 0.75}),
    ("memory_vq", {"piece_size": 2}),
    ("shadowkv", {"outlier_ratio": 0.0}),
    ("xkv", {"key_rank_ratio": 0.125, "value_rank_ratio": 0.1875}),
)
"""Cases beside each codec's defaults."""


@dataclass(slots=True)
class Prompt:
    """What was read of one text."""

    sides: dict[str, list[Tensor]]
    """Of each layer: (kv_heads, tokens, head_dim)."""
    queries: list[Tensor]
    """Of each layer: (heads, queries, head_dim)."""
    importance: list[Tensor]
    """Of each layer: (kv_heads, tokens)."""
    following: Tensor
    """(1, tokens) of the text after it."""
    wanted: Tensor
    """Log probabilities with the cache as it was: (tokens, words)."""


@dataclass(slots=True)
class Coded:
    """A cache that was encoded and decoded."""

    sides: dict[str, list[Tensor]]
    """As those of the prompt."""
    num_bytes: int
    """Of all parts."""
    encode_s: float
    decode_s: float


def texts(folder: Path) -> Iterator[str]:
    """Yield the middle of each book and of the encyclopedia, so that no text is a title page."""
    for path in sorted([*folder.glob("gutenberg/*.txt"), *folder.glob("wikitext2/*.txt")]):
        if "LICENSE" not in path.name:
            text = path.read_text(encoding="utf-8")
            yield text[len(text) // 2 : len(text) // 2 + 20_000]


def read(model: Any, tokens: Tensor, num_prompt: int, rope: Rope) -> Prompt:
    """Return what the model makes of the first tokens, and of the others after them."""
    cache = DynamicCache(config=model.config)
    early = num_prompt - NUM_QUERIES
    model(tokens[:, :early], past_key_values=cache)
    hidden = model(tokens[:, early:num_prompt], past_key_values=cache, output_hidden_states=True).hidden_states
    sides = {
        KEYS: [layer.keys[0].clone() for layer in cache.layers],
        VALUES: [layer.values[0].clone() for layer in cache.layers],
    }
    places, last = torch.arange(num_prompt), torch.arange(early, num_prompt)
    queries, importance = [], []
    for layer, before, keys in zip(model.model.layers, hidden, sides[KEYS], strict=False):
        made = layer.self_attn.q_proj(layer.input_layernorm(before))[0]
        made = rope.rotate(made.view(NUM_QUERIES, -1, keys.shape[2]).transpose(0, 1), last)
        weights = attention_weights(made, last, keys, places.expand(keys.shape[:2]), keys.shape[2] ** -0.5)
        queries.append(made)
        importance.append(weights.sum((1, 2)))
    following = tokens[:, num_prompt:]
    return Prompt(sides, queries, importance, following, answers(model, sides, following))


def answers(model: Any, sides: dict[str, list[Tensor]], following: Tensor) -> Tensor:
    """Return log probabilities of what comes after each following token: (tokens, words)."""
    cache = DynamicCache(config=model.config)
    for layer, (keys, values) in enumerate(zip(sides[KEYS], sides[VALUES], strict=True)):
        cache.update(keys[None].clone(), values[None].clone(), layer)
    return torch.log_softmax(model(following, past_key_values=cache).logits[0].float(), dim=-1)


def coded(codec: Codec, prompt: Prompt, rope: Rope) -> Coded:
    """Return the prompt's cache after it was encoded and decoded, group by group of layers."""
    found = Coded({}, 0, 0.0, 0.0)
    for side, layers in prompt.sides.items():
        turns = codec.before_rope and side == KEYS
        places = torch.arange(layers[0].shape[1])
        given = [rope.unrotate(one, places) for one in layers] if turns else layers
        back: list[Tensor] = []
        for at in range(0, len(given), codec.group):
            group = slice(at, at + codec.group)
            began = time.process_time()
            parts = codec.encode(given[group], side, importance=prompt.importance[group], queries=prompt.queries[group])
            found.encode_s += time.process_time() - began
            found.num_bytes += sum(part.numel() * part.element_size() for part in parts.values())
            began = time.process_time()
            back += codec.decode(parts, side, torch.float32)
            found.decode_s += time.process_time() - began
        found.sides[side] = [rope.rotate(one, places) for one in back] if turns else back
    return found


def error(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the length of the difference over the length of what was wanted."""
    one, other = torch.stack(tuple(found)), torch.stack(tuple(wanted))
    return float((one - other).norm() / other.norm())


def measure(model: Any, codec: Codec, prompts: Sequence[Prompt], rope: Rope) -> dict[str, float]:
    """Return the means over prompts."""
    rows = []
    for prompt in prompts:
        found = coded(codec, prompt, rope)
        said = answers(model, found.sides, prompt.following)
        divergence = (prompt.wanted.exp() * (prompt.wanted - said)).sum(-1)
        num_values = sum(one.numel() for layers in prompt.sides.values() for one in layers)
        rows.append(
            {
                "bits": 8.0 * found.num_bytes / num_values,
                "kl": float(divergence.mean()),
                "kl_worst": float(divergence.max()),
                "same_word": float((said.argmax(-1) == prompt.wanted.argmax(-1)).float().mean()),
                "error_keys": error(found.sides[KEYS], prompt.sides[KEYS]),
                "error_values": error(found.sides[VALUES], prompt.sides[VALUES]),
                "encode_s": found.encode_s,
                "decode_s": found.decode_s,
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a folder that transformers loads, a Llama")
    parser.add_argument("--data", type=Path, default=os.environ.get("ENGRAMOS_DATA"), help="the folder with texts")
    parser.add_argument("--out", type=Path, help="where the numbers go, as JSON")
    parser.add_argument("--only", nargs="*", help="names of codecs")
    parser.add_argument("--texts", type=int, default=7, help="at most so many texts")
    parser.add_argument("--prompt", type=int, default=1024, help="tokens in the cache")
    parser.add_argument("--following", type=int, default=128, help="tokens that are read on")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data, or set ENGRAMOS_DATA to the folder with the texts")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    head_dim = model.config.hidden_size // model.config.num_attention_heads
    rope = Rope.plain(head_dim, theta=model.config.rope_parameters["rope_theta"])
    num = arguments.prompt + arguments.following
    chosen = [tokenizer(text, return_tensors="pt").input_ids[:, :num] for text in texts(Path(arguments.data))]
    prompts = [read(model, tokens, arguments.prompt, rope) for tokens in chosen[: arguments.texts]]
    rows = []
    print("| codec | bits | KL | worst | same word | error K, V | encode, decode (CPU s) |\n|" + " --- |" * 7)
    for name, parameters in [*((name, {}) for name in ROLE.names()), *MORE]:
        if arguments.only and name not in arguments.only:
            continue
        row = measure(model, ROLE.make(name, **parameters), prompts, rope)
        rows.append({"codec": name, "parameters": parameters} | row)
        title = " ".join([name, *(f"{key}={value}" for key, value in parameters.items())])
        print(
            f"| {title} | {row['bits']:.2f} | {row['kl']:.5f} | {row['kl_worst']:.4f} | {row['same_word']:.3f} | "
            f"{row['error_keys']:.4f}, {row['error_values']:.4f} | {row['encode_s']:.3f}, {row['decode_s']:.3f} |",
            flush=True,
        )
    if arguments.out:
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        sizes = {"prompt": arguments.prompt, "following": arguments.following, "texts": len(prompts)}
        arguments.out.write_text(json.dumps(stamp() | {"versions": versions} | sizes | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
