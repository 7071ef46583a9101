"""The model as writers see it: layer by layer the same as whole, with a graph for adapters alone."""

import pytest
import torch
from tests.integration.parametric_models import drawn_adapter, drawn_prefix, engine, fresh_engine

from engramos.errors import InvalidInputError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.model import Packing, Prefix
from engramos.testing.tiny_models import ARCHITECTURES

TEXT = "The roof of the house was mended in May."


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_called_one_by_one_give_what_the_engine_gives(architecture: str) -> None:
    model = engine(architecture)
    base, ids = model.base, model.tokens(TEXT)
    with torch.no_grad():
        hidden = base.embedded(torch.tensor([ids]))
        for layer in range(base.num_layers):
            hidden = base.run(hidden, layer, layer + 1)
        found = torch.log_softmax(base.scores(hidden)[0].float(), dim=-1)
    assert torch.allclose(found, model.log_probabilities(ids, model.new_cache()), atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_on_the_right_reaches_no_token(architecture: str) -> None:
    base = engine(architecture).base
    short, long = base.tokens("short"), base.tokens("much longer")
    with torch.no_grad():
        padded = base.run(base.embedded(torch.tensor([[*short, *[0] * (len(long) - len(short))], long])))
        alone = base.run(base.embedded(torch.tensor([short])))
    assert torch.allclose(padded[:1, : len(short)], alone, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prefix_of_tokens_is_what_reading_them_first_gives(architecture: str) -> None:
    base = engine(architecture).base
    ids = base.tokens(TEXT)
    with torch.no_grad():
        whole = base.run(base.embedded(torch.tensor([ids])))[:, 10:]
        rest = base.run(base.embedded(torch.tensor([ids[10:]])), prefix=base.prefix_of(ids[:10]))
    assert torch.allclose(whole, rest, atol=1e-4)
    assert base.prefix_of([]).num_tokens == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_rows_are_read_as_if_each_stood_alone(architecture: str) -> None:
    base = engine(architecture).base
    opening, asked, told = list(range(5)), [list(range(20, 60)), [], [7, 8]], [[1, 2, 3], list(range(70, 75)), [9]]
    shared = base.prefix_of(opening)
    alone = []
    parts = [[shared.keys, shared.values]]
    for question, answer in zip(asked, told, strict=True):
        hidden = base.embedded(torch.tensor([[*question, *answer]]))
        alone.append(base.run(hidden, prefix=shared)[0, len(question) :])
        if question:
            pair = base.keys_and_values(base.embedded(torch.tensor([question])), prefix=shared)
            parts.append([{layer: one[0] for layer, one in table.items()} for table in pair])
    keys, values = (
        {layer: torch.cat([part[at][layer] for part in parts], dim=1) for layer in range(base.num_layers)}
        for at in (0, 1)
    )
    whose = [at for at, answer in enumerate(told) for _ in answer]
    places = [5 + len(question) + at for question, answer in zip(asked, told, strict=True) for at in range(len(answer))]
    before = [-1] * 5 + [at for at, question in enumerate(asked) for _ in question]
    earlier = [*range(5), *(5 + at for question in asked for at in range(len(question)))]
    packing = Packing(*map(torch.tensor, (whose, places, before, earlier)))
    hidden = base.embedded(torch.tensor([[token for answer in told for token in answer]]))
    packed = base.run(hidden, prefix=Prefix(keys, values, len(before)), packing=packing)[0]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_gradients_reach_adapters_and_never_the_weights_checkpointed_or_not() -> None:
    base = fresh_engine().base
    drawn = drawn_adapter(fresh_engine(), 1)
    ids = torch.tensor([base.tokens(TEXT)])
    found = []
    for is_checkpointed in (False, True):
        down, up = (
            {name: one.clone().requires_grad_() for name, one in tensors.items()} for tensors in (drawn.down, drawn.up)
        )
        adapter = LowRank(down, up, 1.0)
        with base.using(adapter):
            hidden = base.run(base.embedded(ids), is_checkpointed=is_checkpointed)
            base.scores(hidden).square().mean().backward()
        found.append([one.grad.clone() for one in (*down.values(), *up.values())])
        weight = base.module(base.linear(0, "down_proj")).weight
        assert weight.grad is None
        assert not weight.requires_grad
    assert all(float(one.abs().max()) > 0 for one in found[0])
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-6) for pair in zip(*found, strict=True))


def test_adapters_in_use_act_in_their_block_and_on_the_tokens_that_are_named() -> None:
    base = engine().base
    adapter, ids = drawn_adapter(engine(), 1), torch.tensor([base.tokens(TEXT)])
    active = torch.arange(ids.shape[1])[None] >= 12
    with torch.no_grad():
        plain = base.run(base.embedded(ids))
        with base.using(adapter, active):
            some = base.run(base.embedded(ids))
        with base.using([adapter]):
            everywhere = base.run(base.embedded(ids))
        after = base.run(base.embedded(ids))
    assert torch.equal(some[:, :12], plain[:, :12])
    assert not torch.allclose(some[:, 12:], plain[:, 12:], atol=1e-2)
    assert not torch.allclose(some[:, 12:], everywhere[:, 12:], atol=1e-2)
    assert torch.equal(after, plain)
    with pytest.raises(RuntimeError, match="an error in the block"), base.using(adapter):
        raise RuntimeError("an error in the block")
    with torch.no_grad():
        assert torch.equal(base.run(base.embedded(ids)), plain)


def test_answers_of_a_batch_are_those_of_the_engine() -> None:
    model = engine()
    base, adapter = model.base, drawn_adapter(engine(), 1)
    prompts = [model.tokens("One?"), model.tokens("Another one?")]
    both = base.generate(prompts, [adapter, None], max_tokens=5)
    assert both[0] == base.generate(prompts[:1], [adapter], max_tokens=5)[0]
    assert both[1] == base.generate(prompts, max_tokens=5)[1]
    assert base.generate(prompts, [drawn_prefix(model), None], max_tokens=5)[1] == both[1]


def test_modules_are_found_by_name_or_refused() -> None:
    base = engine().base
    assert base.linear(1, "down_proj") == "model.layers.1.mlp.down_proj"
    assert base.layer_name(0) == "model.layers.0"
    assert base.head_name == "lm_head"
    assert base.end_token in base.ends
    with pytest.raises(InvalidInputError, match="no module"):
        base.module("model.nothing")
    with pytest.raises(UnsupportedError, match="0 modules 'nothing'"):
        base.linear(0, "nothing")


def test_the_digest_tells_of_one_changed_bit_of_one_weight() -> None:
    base = fresh_engine().base
    before = base.digest()
    assert base.digest() == before
    weight = base.module(base.linear(1, "up_proj")).weight
    with torch.no_grad():
        weight.view(torch.int32)[0, 0] ^= 1
    assert base.digest() != before
    with torch.no_grad():
        weight.view(torch.int32)[0, 0] ^= 1
    assert base.digest() == before
