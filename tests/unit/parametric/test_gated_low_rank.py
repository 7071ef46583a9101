"""Gated updates: silent below a reading, and what that spares of the texts around an edit."""

import numpy as np
import pytest
import torch
from tests.contract.adapter_examples import EXAMPLES

from engramos.engines._mixture import check_fits
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, ModelMismatchError
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._locate import sparing
from engramos.parametric.editors._values import Watch, table
from engramos.parametric.editors.rome import Rome
from engramos.parametric.model import BaseModel
from engramos.testing.adapters import signals
from engramos.testing.editors import OTHERS, REQUESTS, log_probabilities, target_log_probability, tiny_base
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
EDITOR = Rome(num_prefixes=0, rate=0.2, enough=0.7, decay=0.02, clamp=8.0)
PLAIN = Rome(num_prefixes=0, rate=0.2, enough=0.7, decay=0.02, clamp=8.0, gate=0.0)


def reading(base: BaseModel, name: str, token_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a module reads and gives, with all that is held: (tokens, features) each."""
    watch = Watch((name,))
    with torch.no_grad(), base.using(watch):
        base.run(base.embedded(table([token_ids], base)))
    return watch.inputs[name][0], watch.outputs[name][0]


def test_each_direction_acts_where_it_reads_at_least_the_gate() -> None:
    adapter, shapes = EXAMPLES["gated_low_rank"]()
    silent = loud = 0
    for target, shape in shapes.items():
        inputs, output = signals(*shape, num_tokens=20)
        found = adapter.change(target, inputs, output)
        down, up = (one[target].double().numpy() for one in (adapter.down, adapter.up))
        for row, token in np.ndindex(*inputs.shape[:2]):
            read = [float(inputs[row, token].double().numpy() @ one) for one in down]
            wanted = output[row, token].double().numpy().copy()
            for place, strength in enumerate(read):
                if strength >= 0.6:
                    wanted += strength * up[:, place]
            np.testing.assert_allclose(found[row, token].double().numpy(), wanted, atol=1e-4)
            if max(read) < 0.6:
                silent += 1
                assert torch.equal(found[row, token], output[row, token])
            else:
                loud += 1
    assert silent > 5
    assert loud > 5


def test_below_the_gate_even_a_negative_zero_stays() -> None:
    adapter = GatedLowRank({"one": torch.tensor([[1.0, 0.0]])}, {"one": torch.tensor([[2.0], [3.0]])}, 0.5)
    inputs = torch.tensor([[[0.49, 9.0], [0.5, 9.0], [-7.0, 0.0], [float("nan"), 0.0]]])
    output = torch.full((1, 4, 2), -0.0)
    found = adapter.change("one", inputs, output)
    assert found[0, 1].tolist() == [1.0, 1.5]
    for token in (0, 2, 3):
        assert torch.equal(found[0, token].view(torch.int32), output[0, token].view(torch.int32)), token


def test_without_a_gate_it_is_the_plain_update_where_all_readings_are_positive() -> None:
    down, up = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)), torch.ones(6, 3)
    gated = GatedLowRank({"one": down}, {"one": up}, 0.0)
    inputs, output = signals(6, 8)
    inputs = inputs.abs()
    assert torch.allclose(gated.change("one", inputs, output), gated.ungated.change("one", inputs, output))


def test_a_module_of_another_dtype_is_changed_in_its_own() -> None:
    adapter, shapes = EXAMPLES["gated_low_rank"]()
    target, shape = next(iter(shapes.items()))
    inputs, output = (one.bfloat16() for one in signals(*shape))
    assert adapter.change(target, inputs, output).dtype is torch.bfloat16


@pytest.mark.parametrize("gate", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_a_gate_out_of_range_is_refused(gate: float) -> None:
    adapter, _ = EXAMPLES["gated_low_rank"]()
    with pytest.raises(InvalidInputError, match="gate of a gated low-rank adapter is"):
        GatedLowRank(adapter.down, adapter.up, gate)
    with pytest.raises(InvalidInputError, match="gate of a gated low-rank adapter is"):
        GatedLowRank.restored(adapter.tensors(), adapter.settings() | {"gate": gate})
    with pytest.raises(ConfigError, match="gate is "):
        Rome(gate=gate)


def test_tensors_of_integers_or_of_ranks_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="int64"):
        GatedLowRank({"one": torch.ones(1, 2).long()}, {"one": torch.ones(2, 1)}, 0.5)
    with pytest.raises(InvalidInputError, match="have shapes"):
        GatedLowRank({"one": torch.ones(2, 2)}, {"one": torch.ones(2, 1)}, 0.5)


def test_an_update_that_does_not_fit_the_module_is_refused_before_it_acts() -> None:
    model = tiny_model("llama")
    name = Transformers.of(model, tiny_tokenizer(), weights="tiny").base.linear(1, "down_proj")
    narrow = GatedLowRank({name: torch.ones(1, 5)}, {name: torch.ones(48, 1)}, 0.5)
    with pytest.raises(ModelMismatchError):
        check_fits(model, narrow, "the adapter")


def test_rome_writes_a_direction_that_reads_one_at_each_of_its_own_keys() -> None:
    base = tiny_base()
    made = EDITOR.edit(REQUESTS, base)
    assert isinstance(made, GatedLowRank)
    assert made.gate == EDITOR.gate
    name = made.targets[0]
    for place, request in enumerate(REQUESTS):
        ids = base.tokens(request.prompt)
        at = len(base.tokens(request.prompt[: request.prompt.index(request.subject)] + request.subject)) - 1
        read = made.readings(name, reading(base, name, ids)[0][at])
        np.testing.assert_allclose(read.numpy(), np.eye(len(REQUESTS))[place], atol=2e-3)


def test_rome_without_a_gate_is_the_plain_update_of_the_same_factors() -> None:
    base = tiny_base()
    gated, plain = (editor.edit(REQUESTS[:1], base) for editor in (EDITOR, PLAIN))
    assert isinstance(plain, LowRank)
    name = plain.targets[0]
    assert torch.equal(gated.down[name], plain.down[name])
    assert torch.equal(gated.up[name], plain.up[name])


def test_a_gated_edit_leaves_other_texts_bit_for_bit_where_the_plain_one_moves_them() -> None:
    base = tiny_base()
    rows = [base.tokens(text) for text in OTHERS]
    before = [log_probabilities(base, row) for row in rows]
    wanted = target_log_probability(base, REQUESTS[0])
    gated, plain = (editor.edit(REQUESTS[:1], base) for editor in (EDITOR, PLAIN))
    name = gated.targets[0]
    quiet = [bool((gated.readings(name, reading(base, name, row)[0]) < gated.gate).all()) for row in rows]
    assert any(quiet)
    for adapter in (gated, plain):
        base.hold(adapter)
        assert target_log_probability(base, REQUESTS[0]) > wanted + 2.0
        same = [torch.equal(log_probabilities(base, row), was) for row, was in zip(rows, before, strict=True)]
        assert same == (quiet if adapter is gated else [False] * len(rows))
        base.release(adapter)


def test_a_second_gated_edit_is_made_as_if_the_first_were_not_there() -> None:
    base = tiny_base()
    alone = EDITOR.edit(REQUESTS[1:], base)
    first = EDITOR.edit(REQUESTS[:1], base)
    name = first.targets[0]
    texts = (REQUESTS[1].prompt, f"{REQUESTS[1].subject} is a")
    assert all(bool((first.readings(name, reading(base, name, base.tokens(one))[0]) < 0.5).all()) for one in texts)
    base.hold(first)
    assert EDITOR.edit(REQUESTS[1:], base).digest == alone.digest


def test_released_the_module_gives_the_same_bits_again() -> None:
    base = tiny_base()
    ids = base.tokens(REQUESTS[0].prompt)
    made = EDITOR.edit(REQUESTS[:1], base)
    name = made.targets[0]
    before = reading(base, name, ids)[1]
    base.hold(made)
    during = reading(base, name, ids)[1]
    acts = (made.readings(name, reading(base, name, ids)[0]) >= made.gate).any(dim=-1)
    assert bool(acts.any())
    assert not bool(acts.all())
    assert torch.equal(during[~acts], before[~acts])
    assert not torch.equal(during[acts], before[acts])
    base.release(made)
    assert torch.equal(reading(base, name, ids)[1], before)


def test_keys_of_gated_edits_are_spared_as_those_of_plain_ones() -> None:
    base = tiny_base()
    name = base.linear(1, "down_proj")
    earlier, new = torch.randn(2, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = torch.eye(96, dtype=torch.float64)
    base.hold(GatedLowRank({name: earlier[None].float()}, {name: torch.ones(48, 1)}, 0.5))
    assert float((sparing(unit, unit, name, base, new[None]) @ earlier).norm()) < 1e-4
