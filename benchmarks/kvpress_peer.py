"""What kvpress keeps of a cache, written to a file: runs in kvpress' own environment, started by `kvpress_beside`.

Every layer's attention is computed densely once; then each press compresses a copy of that layer's cache, with what its
own hook would give it. Which tokens it kept is read from the rows that come back, or from its mask.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kvpress
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

PRESSES: dict[str, Callable[[float], Any]] = {
    "adakv": lambda removed: kvpress.AdaKVPress(kvpress.SnapKVPress(removed)),
    "expected_attention": kvpress.ExpectedAttentionPress,
    "h2o": kvpress.ObservedAttentionPress,
    "keydiff": kvpress.KeyDiffPress,
    "knorm": kvpress.KnormPress,
    "lagkv": kvpress.LagKVPress,
    "pyramidkv": kvpress.PyramidKVPress,
    "snapkv": kvpress.SnapKVPress,
    "streaming_llm": kvpress.StreamingLLMPress,
    "tova": kvpress.TOVAPress,
}
"""By the name of our policy: what makes the press that removes so much, all else at its default."""


def kept_rows(keys: torch.Tensor, kept: torch.Tensor) -> list[list[int]]:
    """Return for each head the places of the kept keys; each key of a head is another one, by its position."""
    found = []
    for head in range(keys.shape[0]):
        places = {row.tobytes(): place for place, row in enumerate(keys[head].numpy())}
        assert len(places) == keys.shape[1], "two keys of a head are equal: places are not certain"
        found.append(sorted(places[row.tobytes()] for row in kept[head].contiguous().numpy()))
    return found


def kept_of_mask(module: torch.nn.Module, kv_heads: int, num_tokens: int) -> list[list[int]]:
    """Return for each head the places that the module's mask leaves."""
    is_kept = torch.ones(kv_heads, num_tokens, dtype=torch.bool)
    _, heads, places = module.masked_key_indices
    is_kept[heads, places] = False
    module.masked_key_indices = None
    return [torch.nonzero(row).flatten().tolist() for row in is_kept]


def compressed(press: Any, module: torch.nn.Module, given: tuple[Any, ...]) -> list[list[int]]:
    """Return what one press keeps of one layer."""
    keys = given[1]
    if not isinstance(press, kvpress.AdaKVPress):
        pruned, _ = press.compress(module, *given)
        return kept_rows(keys[0], pruned[0])
    # this press refuses eager attention, which others need; it only sets a mask, and the pass is over
    module.config._attn_implementation = "sdpa"
    press.compress(module, *given)
    module.config._attn_implementation = "eager"
    return kept_of_mask(module, *keys.shape[1:3])


def watch(model: Any, shares: list[float], found: dict[str, torch.Tensor]) -> Iterator[Any]:
    """Hook every attention layer, so that one pass fills `found`; yield the hooks."""

    def look(module: torch.nn.Module, _: Any, kwargs: dict[str, Any], output: Any) -> None:
        cache = kwargs["past_key_values"].layers[module.layer_idx]
        hidden, keys, values = kwargs["hidden_states"], cache.keys, cache.values
        queries = module.q_proj(hidden).view(*hidden.shape[:2], -1, module.head_dim).transpose(1, 2)
        queries, _ = apply_rotary_pos_emb(queries, keys, *kwargs["position_embeddings"])
        layer = f"layer.{module.layer_idx}"
        found.update({f"{layer}.keys": keys[0], f"{layer}.values": values[0], f"{layer}.queries": queries[0]})
        for name, make in PRESSES.items():
            for removed in shares:
                given = (hidden, keys.clone(), values.clone(), output[1].clone(), kwargs)
                for head, places in enumerate(compressed(make(removed), module, given)):
                    found[f"{layer}.{name}.{removed}.{head}"] = torch.tensor(places, dtype=torch.int32)

    for layer in model.model.layers:
        layer.self_attn.rotary_emb = model.model.rotary_emb
        yield layer.self_attn.register_forward_hook(look, with_kwargs=True)


def tokens_of(folder: str, prompts: list[dict[str, Any]], vocabulary: int) -> list[list[int]]:
    """Return the tokens of each prompt, cut to its length; random ones where the folder has no tokenizer."""
    if not any(Path(folder).glob("tokenizer*")):
        random = torch.Generator().manual_seed(7)
        return [torch.randint(vocabulary, (one["length"],), generator=random).tolist() for one in prompts]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = [tokenizer(one["text"])["input_ids"][: one["length"]] for one in prompts]
    assert all(len(tokens) == one["length"] for tokens, one in zip(made, prompts, strict=True)), "a text is too short"
    return made


@torch.no_grad()
def main(job: Path) -> None:
    torch.set_num_threads(1)
    asked = json.loads(job.read_text(encoding="utf-8"))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        asked["model"], dtype=torch.float32, attn_implementation="eager"
    ).eval()
    found: dict[str, torch.Tensor] = {}
    hooks = list(watch(model, asked["removed"], found))
    for number, tokens in enumerate(tokens_of(asked["model"], asked["prompts"], model.config.vocab_size)):
        found.clear()
        cache = transformers.DynamicCache()
        model(torch.tensor([tokens]), past_key_values=cache, logits_to_keep=1)
        found["inverse_frequencies"] = model.model.rotary_emb.inv_freq
        about = {
            "layers": str(len(hooks)),
            "rope_scaling": str(model.model.rotary_emb.attention_scaling),
            "scaling": str(model.model.layers[0].self_attn.scaling),
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }
        save_file({name: one.contiguous().clone() for name, one in found.items()}, job.parent / f"{number}.st", about)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
