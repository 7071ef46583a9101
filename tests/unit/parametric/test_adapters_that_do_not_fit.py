"""An adapter of any kind whose tensors are for another model is refused by name, before the model reads a token."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engramos.engines._mixture import check_fits
from engramos.engines.transformers import Transformers
from engramos.errors import ModelMismatchError
from engramos.parametric.adapter import Adapter, Sizes
from engramos.parametric.adapters import ROLE
from engramos.parametric.adapters.codebook import Codebook
from engramos.parametric.adapters.datastore import Datastore
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.head_scaling import HeadScaling
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.adapters.prefix import VirtualTokens
from engramos.parametric.adapters.product_keys import ProductKeys
from engramos.parametric.adapters.side_memory import SideMemory
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
LAYER, HEAD = "model.layers.1", "lm_head"
DOWN, ATTENTION, FEED_FORWARD = f"{LAYER}.mlp.down_proj", f"{LAYER}.self_attn.o_proj", f"{LAYER}.mlp"
HIDDEN, INNER, VOCABULARY, KV_HEADS, HEAD_DIM, LAYERS = 48, 96, 261, 2, 16, 3


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny")


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def low_rank(given: int = HIDDEN, read: int = INNER, target: str = DOWN) -> Adapter:
    return LowRank({target: drawn(2, read)}, {target: drawn(given, 2)})


def gated_low_rank(given: int = HIDDEN, read: int = INNER) -> Adapter:
    return GatedLowRank({DOWN: drawn(2, read)}, {DOWN: drawn(given, 2)}, 0.5)


def side_memory(given: int = HIDDEN, read: int = INNER) -> Adapter:
    return SideMemory(DOWN, torch.tensor([0, 5]), drawn(2), (given, read), 0.1)


def codebook(hidden: int = HIDDEN, values: int = HIDDEN, target: str = LAYER) -> Adapter:
    rows = torch.tensor([3, 4]), torch.tensor([0, 0])
    return Codebook(target, drawn(2, hidden), drawn(2, values), *rows, ("a",), 0.5)


def datastore(hidden: int = HIDDEN, token: int = VOCABULARY - 1, target: str = HEAD) -> Adapter:
    rows = torch.tensor([3, token]), torch.ones(2), torch.tensor([0, 0])
    return Datastore(target, drawn(2, hidden), *rows, ("a",))


def product_keys(given: int = HIDDEN, read: int = HIDDEN) -> Adapter:
    parts = {
        "slots": torch.tensor([2, 7]),
        "values": drawn(2, given),
        "means": drawn(read),
        "deviations": torch.ones(read),
        "owners": torch.ones(2, 1, dtype=torch.bool),
    }
    return ProductKeys(
        **{name: {FEED_FORWARD: one} for name, one in parts.items()}, facts=("a",), num_keys=4, num_reads=2
    )


def head_scaling(given: int = HIDDEN, head: int = 5, head_dim: int = HEAD_DIM, target: str = ATTENTION) -> Adapter:
    return HeadScaling({target: (0, head)}, {target: torch.tensor([0.0, 2.0])}, {target: drawn(given, 2 * head_dim)})


def prefix(layer: int = LAYERS - 1, kv_heads: int = KV_HEADS, head_dim: int = HEAD_DIM) -> Adapter:
    layers = {*range(LAYERS), layer}
    keys, values = ({at: drawn(kv_heads, 4, head_dim) for at in layers} for _ in range(2))
    return VirtualTokens(keys, values)


MAKERS: dict[str, Callable[..., Adapter]] = {
    "codebook": codebook,
    "datastore": datastore,
    "gated_low_rank": gated_low_rank,
    "head_scaling": head_scaling,
    "low_rank": low_rank,
    "prefix": prefix,
    "product_keys": product_keys,
    "side_memory": side_memory,
}
WRONG: list[tuple[str, dict[str, object], tuple[str, ...]]] = [
    ("low_rank", {"given": HIDDEN - 1}, (f"shape of {DOWN}",)),
    ("low_rank", {"read": INNER + 1}, (f"shape of {DOWN}",)),
    ("low_rank", {"read": HIDDEN, "target": FEED_FORWARD}, (f"shape of {FEED_FORWARD}",)),
    ("gated_low_rank", {"given": HIDDEN - 1}, (f"shape of {DOWN}",)),
    ("gated_low_rank", {"read": INNER + 1}, (f"shape of {DOWN}",)),
    ("side_memory", {"given": INNER, "read": HIDDEN}, (f"shape of {DOWN}",)),
    ("codebook", {"hidden": HIDDEN + 1}, (f"shape of {LAYER}",)),
    ("codebook", {"values": 1}, (f"shape of {LAYER}",)),
    ("codebook", {"target": DOWN}, (f"shape of {DOWN}",)),
    ("datastore", {"hidden": HIDDEN - 1}, (f"shape of {HEAD}",)),
    ("datastore", {"target": LAYER, "token": 5}, (f"shape of {LAYER}",)),
    ("datastore", {"token": VOCABULARY}, ("vocabulary",)),
    ("datastore", {"token": -1}, ("vocabulary",)),
    ("product_keys", {"given": HIDDEN + 2}, (f"shape of {FEED_FORWARD}",)),
    ("product_keys", {"read": INNER}, (f"shape of {FEED_FORWARD}",)),
    ("head_scaling", {"given": HIDDEN + 1}, (f"shape of {ATTENTION}",)),
    ("head_scaling", {"head": 6}, (f"shape of {ATTENTION}",)),
    ("head_scaling", {"target": LAYER}, (f"shape of {LAYER}",)),
    ("head_scaling", {"head_dim": HEAD_DIM // 2}, ("head_dim",)),
    ("prefix", {"layer": LAYERS}, ("number of layers",)),
    ("prefix", {"layer": -1}, ("number of layers",)),
    ("prefix", {"kv_heads": 1}, ("number of heads",)),
    ("prefix", {"kv_heads": 6, "head_dim": 8}, ("number of heads", "head_dim")),
]


def test_every_kind_is_tried() -> None:
    assert sorted(MAKERS) == list(ROLE.names())
    assert {name for name, _, _ in WRONG} == set(MAKERS)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_an_adapter_of_the_right_sizes_fits_and_answers(engine: Transformers, name: str) -> None:
    check_fits(engine._hosted.model, MAKERS[name](), "this adapter")
    answer = engine.base.generate([engine.base.tokens("Who?")], [MAKERS[name]()], max_tokens=2)[0]
    assert len(answer) <= 2


@pytest.mark.parametrize(("name", "sizes", "differing"), WRONG)
def test_an_adapter_of_other_sizes_is_refused_before_any_pass(
    engine: Transformers, name: str, sizes: dict[str, object], differing: tuple[str, ...]
) -> None:
    base, adapter = engine.base, MAKERS[name](**sizes)
    prompt, passes = base.tokens("Who?"), []
    handle = base.module("model.embed_tokens").register_forward_hook(lambda *_: passes.append(1))
    try:
        for act in (
            lambda: base.generate([prompt], [adapter], max_tokens=1),
            lambda: base.hold(adapter),
            lambda: engine.adapted([adapter]),
        ):
            with pytest.raises(ModelMismatchError) as refused:
                act()
            assert refused.value.differing == differing
    finally:
        handle.remove()
    assert passes == []
    assert base.held == ()


def test_a_kind_that_does_not_say_what_it_needs_fits_everywhere() -> None:
    assert Adapter.misfits(low_rank(1, 1), Sizes(HIDDEN, {DOWN: (HIDDEN, INNER)}, [(KV_HEADS, HEAD_DIM)])) == ()


def test_a_part_of_a_layer_has_the_features_of_hidden_states() -> None:
    sizes = Sizes(HIDDEN, {DOWN: (HIDDEN, INNER), LAYER: (), "norm": (HIDDEN,)}, [])
    assert [sizes.features(name) for name in (DOWN, LAYER, "norm")] == [(HIDDEN, INNER)] + [(HIDDEN, HIDDEN)] * 2
