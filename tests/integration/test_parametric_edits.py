"""Edits act while their cubes are active, and not a moment longer, whichever verb ends them."""

import pytest
from tests.integration.parametric_models import fresh_engine

from engramos.engines.base import Sampling
from engramos.memory import MemoryOS
from engramos.parametric.editors.base import Request

PROMPT = "The mother tongue of Ana Lima is"


def said(model):
    """Return what a model says after the prompt, as tokens."""
    return model.generate_batch([model.tokens(PROMPT)], Sampling(max_tokens=4))


@pytest.mark.parametrize(
    "end",
    [
        lambda memory, weights, cube_id: weights.undo(cube_id),
        lambda memory, weights, cube_id: weights.rollback(cube_id),
        lambda memory, weights, cube_id: weights.demote(cube_id),
        lambda memory, weights, cube_id: weights.forget(cube_id),
        lambda memory, weights, cube_id: memory.forget(cube_id, act="erase"),
        lambda memory, weights, cube_id: weights.close(),
    ],
    ids=["undo", "rollback", "demote", "forget", "forget without a model", "close"],
)
def test_an_edit_that_ends_leaves_the_model_as_it_was(tmp_path, end):
    model = fresh_engine()
    before = said(model)
    with MemoryOS.open(tmp_path, embedder="none", user="ana") as memory, memory.parametric(model) as weights:
        cube = weights.edit(Request(PROMPT, "Ana Lima", " Dutch"), editor="grace")
        assert cube.header.state == "activated"
        assert said(model) != before
        end(memory, weights, cube.id)
        assert model.base.held == ()
        assert said(model) == before


def test_an_edit_that_ends_leaves_another_where_it_is(tmp_path):
    model = fresh_engine()
    other = "The favourite colour of Bruno Sol is"
    with MemoryOS.open(tmp_path, embedder="none", user="ana") as memory, memory.parametric(model) as weights:
        first = weights.edit(Request(PROMPT, "Ana Lima", " Dutch"), editor="grace")
        weights.edit(Request(other, "Bruno Sol", " teal"), editor="grace")
        with_both = model.generate_batch([model.tokens(other)], Sampling(max_tokens=4))
        memory.forget(first.id, act="erase")
        assert len(model.base.held) == 1
        assert model.generate_batch([model.tokens(other)], Sampling(max_tokens=4)) == with_both


def test_an_edit_acts_again_when_its_memory_is_opened_again(tmp_path):
    model = fresh_engine()
    with MemoryOS.open(tmp_path, embedder="none", user="ana") as memory:
        with memory.parametric(model) as weights:
            weights.edit(Request(PROMPT, "Ana Lima", " Dutch"), editor="grace")
            edited = said(model)
        with memory.parametric(model):
            assert said(model) == edited
