"""The other side of `benchmarks.adapters`: the same prompts and sizes with peft, one line of JSON on stdout."""

import argparse
import json
from pathlib import Path
from typing import Any

import peft
import torch
from benchmarks.adapters import LAYERS, NAMES, NUM_REGISTERED, QUESTION, RANK, cpu_s, rss_bytes
from peft.utils.hotswap import hotswap_adapter_from_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from engramos.parametric.model import KINDS


def configured(num_layers: int) -> peft.LoraConfig:
    """Return the configuration of an adapter of our default writer's size; random, where peft would begin with zero."""
    layers = list(range(num_layers - LAYERS, num_layers))
    return peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=list(KINDS), layers_to_transform=layers, init_lora_weights=False
    )


def prefix_name(model: Any, config: peft.LoraConfig) -> str:
    """Return, in one line, what a hotswap of an adapter does whose name is the beginning of another's."""
    model.add_adapter("user1", config)
    model.add_adapter("user10", config)
    before = {name: one.clone() for name, one in model.named_parameters() if ".user10." in name}
    state = peft.get_peft_model_state_dict(model, adapter_name="user1")
    wanted = {name: torch.zeros_like(one) for name, one in state.items()}
    try:
        hotswap_adapter_from_state_dict(model, wanted, "user1", config)
    except (RuntimeError, ValueError, KeyError) as error:
        return f"hotswap of 'user1' beside 'user10' fails: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
    now = dict(model.named_parameters())
    harmed = sum(not torch.equal(one, now[name]) for name, one in before.items())
    left = sum(bool(one.any()) for name, one in now.items() if ".user1." in name)
    return f"hotswap of 'user1' changed {harmed} tensors of 'user10' and left {left} of its own as they were"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--times", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    config, before = configured(base.config.num_hidden_layers), rss_bytes()
    made = [f"a{number:03d}" for number in range(NUM_REGISTERED)]
    model = peft.get_peft_model(base, config, adapter_name=made[0]).eval()
    attach = [cpu_s(lambda name=name: model.add_adapter(name, config)) for name in made[1:]]
    own = sum(one.nbytes for name, one in model.named_parameters() if ".lora_" in name)
    row: dict[str, Any] = {"registered": len(made), "adapter_bytes": own, "rss_bytes": rss_bytes() - before}
    row["attach_ms"] = 1000 * min(attach)
    model.eval()
    chats = [[{"role": "user", "content": QUESTION.format(name)}] for name in NAMES]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    given = dict(tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False))
    given |= {"max_new_tokens": arguments.tokens, "do_sample": False, "pad_token_id": tokenizer.eos_token_id}
    model.set_adapter(made[0])

    def without() -> None:
        with model.disable_adapter():
            model.generate(**given)

    ways = {
        "base_s": without,
        "one_s": lambda: model.generate(**given),
        "mixed_s": lambda: model.generate(**given, adapter_names=made[: len(NAMES)]),
    }
    for act in ways.values():
        act()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.times):
        for name, act in ways.items():
            found[name].append(cpu_s(act))
    row |= {name: min(numbers) for name, numbers in found.items()}
    row |= {"one_ratio": row["one_s"] / row["base_s"], "mixed_ratio": row["mixed_s"] / row["base_s"]}
    row["swap_ms"] = 1000 * min(cpu_s(lambda name=name: model.set_adapter(name)) for name in made[1:4])
    row["prefix_name"] = prefix_name(model, config)
    print(json.dumps(row | {"peft": peft.__version__}))


if __name__ == "__main__":
    main()
