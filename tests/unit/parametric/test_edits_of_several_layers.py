"""Edits that are spread over layers: each takes its share, and each has a gate of its own."""

import numpy as np
import pytest
import torch

from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.editors._requests import row_of
from engramos.parametric.editors._values import Watch, states, table
from engramos.parametric.editors.alphaedit import AlphaEdit
from engramos.parametric.editors.memit import Memit
from engramos.testing.editors import REQUESTS, log_probabilities, tiny_base

torch.set_num_threads(1)
TEXT = "Bread is made of flour."


def test_memit_writes_into_as_many_layers_as_asked_and_a_rank_for_each_request() -> None:
    base = tiny_base()
    made = Memit(num_layers=2, depth=0.4, steps=3).edit(REQUESTS, base)
    assert made.targets == tuple(base.linear(layer, "down_proj") for layer in (0, 1))
    assert [made.rank(name) for name in made.targets] == [2, 2]
    every = Memit(num_layers=9, depth=0.9, steps=1).edit(REQUESTS[:1], base)
    assert len(every.targets) == base.num_layers


def test_alphaedit_writes_into_several_layers_and_the_steps_add_up() -> None:
    base = tiny_base()
    made = AlphaEdit(num_prefixes=0, weight=0.0, num_layers=2, steps=5).edit(REQUESTS[:1], base)
    assert made.targets == tuple(base.linear(layer, "down_proj") for layer in (0, 1))
    row = row_of(REQUESTS[0], base)
    single = AlphaEdit(num_prefixes=0, weight=0.0, num_layers=1, steps=5).edit(REQUESTS[:1], base)
    found, wanted = (states([row], base, 1, [one])[0].numpy() for one in (made, single))
    before = states([row], base, 1)[0].numpy()
    assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted - before)


@pytest.mark.parametrize("editor", [Memit, AlphaEdit])
def test_each_layers_direction_reads_one_at_its_key_as_the_layers_before_leave_it(editor: type) -> None:
    base = tiny_base()
    made = editor(num_prefixes=0, num_layers=2, weight=0.3, steps=3).edit(REQUESTS[:1], base)
    assert isinstance(made, GatedLowRank)
    row = row_of(REQUESTS[0], base)
    watch = Watch(made.targets)
    with torch.no_grad(), base.using([made, watch]):
        base.run(base.embedded(table([row.prompt], base)))
    for name in made.targets:
        read = made.readings(name, watch.inputs[name][0, row.at])
        np.testing.assert_allclose(read.numpy(), [1.0], atol=2e-3)


@pytest.mark.parametrize("editor", [Memit, AlphaEdit])
def test_with_its_gate_an_update_of_several_layers_is_the_plain_one_at_the_prompt(editor: type) -> None:
    base = tiny_base()
    row = row_of(REQUESTS[0], base)
    plain, gated = (editor(num_prefixes=0, steps=4, num_layers=2, gate=one) for one in (0.0, 0.9))
    before = states([row], base, 1)[0].numpy()
    found, wanted = (states([row], base, 1, [one.edit(REQUESTS[:1], base)])[0].numpy() for one in (gated, plain))
    assert np.linalg.norm(wanted - before) > 0.0
    # the plain update also moves what stands before the subject, and so what the second layer reads at it
    assert np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted - before)


@pytest.mark.parametrize("editor", [Memit, AlphaEdit])
def test_a_gate_leaves_other_texts_bit_for_bit_and_the_plain_update_moves_them(editor: type) -> None:
    base = tiny_base()
    ids = base.tokens(TEXT)
    before = log_probabilities(base, ids)
    for gate, is_same in ((0.9, True), (0.0, False)):
        made = editor(num_prefixes=0, steps=3, num_layers=2, gate=gate).edit(REQUESTS[:1], base)
        base.hold(made)
        assert torch.equal(log_probabilities(base, ids), before) is is_same
        base.release(made)
