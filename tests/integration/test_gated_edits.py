"""Gated edits in a memory: examined as the update that they are, kept as edits, and silent on other texts."""

from pathlib import Path

import pytest
import torch
from tests.integration.parametric_models import fresh_engine, opened

from engramos.cube import CubeType, State
from engramos.errors import UnsupportedError
from engramos.memory import MemoryOS
from engramos.parametric.editors.base import Request
from engramos.parametric.scan import Scan

REQUEST = Request("Ana Lima lives in", "Ana Lima", "Q")
EDITOR = '{ method="rome", num_prefixes=0, clamp=8.0, steps=2 }'


def test_an_edit_in_a_memory_leaves_the_scores_of_other_texts_bit_for_bit(memory: MemoryOS) -> None:
    model = fresh_engine()
    own, other = model.tokens(REQUEST.prompt), model.tokens("Bread is made of flour and water.")
    with opened(memory, model) as adapters:
        before = [model.prefill(ids, model.new_cache()) for ids in (own, other)]
        cube = adapters.edit(REQUEST, editor=EDITOR)
        after = [model.prefill(ids, model.new_cache()) for ids in (own, other)]
        assert cube.header.type is CubeType.EDIT
        assert cube.payload.attributes["kind"] == "gated_low_rank"
        assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [False, True]


def test_the_static_scan_measures_a_gated_edit_as_the_update_without_its_gate(memory: MemoryOS) -> None:
    model = fresh_engine()
    with opened(memory, model, scan=Scan(max_norm=1e-6)) as adapters:
        cube = adapters.edit(REQUEST, editor=EDITOR)
        assert cube.header.state is State.GENERATED
        (listed,) = adapters.list()
        assert "times the norm of the weight, over 1e-06" in listed.why[0]
        assert model.base.held == ()


def test_a_gated_edit_has_no_form_in_peft_and_a_plain_one_has(memory: MemoryOS, tmp_path: Path) -> None:
    with opened(memory, fresh_engine()) as adapters:
        gated = adapters.edit(REQUEST, editor=EDITOR)
        with pytest.raises(UnsupportedError, match="gated_low_rank"):
            adapters.export(gated.id, tmp_path / "gated")
        adapters.undo(gated.id)
        plain = adapters.edit(REQUEST, editor=EDITOR.replace("steps", "gate=0, steps"))
        assert adapters.export(plain.id, tmp_path / "plain").is_dir()
