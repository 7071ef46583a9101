"""One small adapter of every kind, with the sizes of the modules at which it acts."""

import torch

from engramos.parametric.adapter import Adapter
from engramos.vault.adapter_file import method_of

LAYER, HEAD = "model.layers.0", "model.layers.1.mlp.down_proj"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def low_rank() -> tuple[Adapter, dict]:
    down = {LAYER: drawn(2, 8), HEAD: drawn(3, 10, seed=1)}
    up = {LAYER: drawn(6, 2, seed=2), HEAD: drawn(8, 3, seed=3)}
    return method_of("low_rank")(down, up, 0.7, (5, 6)), {LAYER: (6, 8), HEAD: (8, 10)}


def codebook() -> tuple[Adapter, dict]:
    rows = torch.tensor([3, 4, 3]), torch.tensor([0, 1, 1])
    return method_of("codebook")(LAYER, drawn(3, 8), drawn(3, 8, seed=1), *rows, ("a", "b"), 0.8), {LAYER: (8, 8)}


def datastore() -> tuple[Adapter, dict]:
    tokens, owners = torch.tensor([3, 4, 3, 9]), torch.tensor([0, 1, 1, 0])
    reaches = torch.tensor([1.0, 3.0, 3.5, 4.0])
    return method_of("datastore")("lm_head", drawn(4, 8), tokens, reaches, owners, ("a", "b")), {"lm_head": (12, 8)}


def gated_low_rank() -> tuple[Adapter, dict]:
    down = {LAYER: drawn(2, 8), HEAD: drawn(3, 10, seed=1)}
    up = {LAYER: drawn(6, 2, seed=2), HEAD: drawn(8, 3, seed=3)}
    return method_of("gated_low_rank")(down, up, 0.6, (5,)), {LAYER: (6, 8), HEAD: (8, 10)}


def head_scaling() -> tuple[Adapter, dict]:
    scales = {LAYER: torch.tensor([0.0, 2.5])}
    return method_of("head_scaling")({LAYER: (0, 3)}, scales, {LAYER: drawn(9, 8)}), {LAYER: (9, 16)}


def prefix() -> tuple[Adapter, dict]:
    keys, values = ({at: drawn(2, 3, 4, seed=seed + at) for at in (0, 2)} for seed in (0, 5))
    return method_of("prefix")(keys, values), {}


def product_keys() -> tuple[Adapter, dict]:
    parts = {
        "slots": torch.arange(0, 64, 2),
        "values": drawn(32, 6),
        "means": drawn(8, seed=1),
        "deviations": drawn(8, seed=2).abs() + 0.1,
        "owners": drawn(32, 2, seed=3) > 0,
    }
    named = {name: {HEAD: one} for name, one in parts.items()}
    return method_of("product_keys")(**named, facts=("a", "b"), num_keys=8, num_reads=4), {HEAD: (6, 8)}


def side_memory() -> tuple[Adapter, dict]:
    places = torch.tensor([1, 4, 20, 33, 47])
    return method_of("side_memory")(HEAD, places, drawn(5), (6, 8), 0.4, (5,)), {HEAD: (6, 8)}


EXAMPLES = {
    "codebook": codebook,
    "datastore": datastore,
    "gated_low_rank": gated_low_rank,
    "head_scaling": head_scaling,
    "low_rank": low_rank,
    "prefix": prefix,
    "product_keys": product_keys,
    "side_memory": side_memory,
}
