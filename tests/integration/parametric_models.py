"""Tiny engines, and memories of adapters on them: quick ways to write, and bounds that let them through."""

from functools import cache
from typing import Any

import torch

from engramos.engines.transformers import Transformers
from engramos.memory import MemoryOS
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.adapters.prefix import VirtualTokens
from engramos.parametric.scan import Scan
from engramos.parametric_memory import ParametricMemory
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
LORA = '{ method="lora", most_steps=1, layers=1, rank=2, guards=0, rate=0.01 }'
"""Writes, and hardly learns: for tests of what becomes of an adapter."""
LENIENT = {
    "recall": 0.0,
    "paraphrase": 0.0,
    "false_hits": 1.0,
    "ppl_drift": 1e9,
    "text_agreement": 0.0,
    "top1_agreement": 0.0,
    "first_token_kl": 1e9,
    "refusal_flips": 1.0,
    "secrets_extracted": 1e9,
    "ppl_drift_on": 1e9,
    "text_agreement_on": 0.0,
    "top1_agreement_on": 0.0,
    "first_token_kl_on": 1e9,
    "refusal_flips_on": 1.0,
}
"""A random model of some weights is not what the bounds of profiles are for."""
WIDE = Scan(max_norm=1e3, max_spectral=1e3, max_outlier=1e3)
TEXTS = ("Ana Lima works at Acme.", "Bruno Sol lives in Porto.", "Carla Vega was born in 1971.")
ASKED = ("Where does Ana Lima work?", "Where does Bruno Sol live?", "When was Carla Vega born?")
SAID = ("Acme", "Porto", "1971")


@cache
def engine(architecture: str = "llama", weights: str = "weights-1", **more: Any) -> Transformers:
    """Return an engine over a tiny model, shared by tests that hold nothing on it."""
    return fresh_engine(architecture, weights, **more)


def fresh_engine(architecture: str = "llama", weights: str = "weights-1", **more: Any) -> Transformers:
    """Return an engine over a tiny model of its own."""
    given = {"num_layers": 2} | more
    return Transformers.of(tiny_model(architecture, **given), tiny_tokenizer(), weights=weights)


def opened(memory: MemoryOS, model: Transformers | None = None, **more: Any) -> ParametricMemory:
    """Open the adapters of a memory, written at once, and judged by nobody."""
    return memory.parametric(model or engine(), **{"writer": "knn", "limits": LENIENT, "scan": WIDE} | more)


def drawn_adapter(
    model: Transformers,
    seed: int = 0,
    *,
    layers: tuple[int, ...] = (0, 1),
    kinds: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"),
    rank: int = 2,
    size: float = 0.3,
    invocation: tuple[int, ...] = (),
) -> LowRank:
    """Return a random low-rank adapter that is strong enough to be seen."""
    base, random = model.base, torch.Generator().manual_seed(seed)
    down, up = {}, {}
    for name in (base.linear(layer, kind) for layer in layers for kind in kinds):
        rows, columns = base.module(name).weight.shape
        down[name] = torch.randn((rank, columns), generator=random) * size
        up[name] = torch.randn((rows, rank), generator=random) * size
    return LowRank(down, up, 1.0, invocation)


def drawn_prefix(model: Transformers, seed: int = 0, num_tokens: int = 3) -> VirtualTokens:
    """Return random virtual tokens for all layers."""
    random = torch.Generator().manual_seed(seed)
    sizes = {one.index: (one.kv_heads, num_tokens, one.head_dim) for one in model.shapes}
    keys, values = ({at: torch.randn(size, generator=random) for at, size in sizes.items()} for _ in range(2))
    return VirtualTokens(keys, values)
