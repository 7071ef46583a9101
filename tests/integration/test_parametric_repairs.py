"""Forgetting repairs adapters that act; those that were switched off, or are stale, go and leave nothing behind."""

import pytest
from tests.integration.parametric_models import ASKED, SAID, TEXTS, opened

from engramos.memory import MemoryOS


@pytest.fixture
def memory(tmp_path):
    with MemoryOS.open(tmp_path, embedder="none", user="ana") as opened_memory:
        yield opened_memory


def test_an_adapter_that_was_rolled_back_does_not_come_back_when_a_source_is_forgotten(memory):
    ids = [memory.add(text).cube_ids[0] for text in TEXTS]
    with opened(memory) as weights:
        weights.learn()
        weights.rollback()
        assert [one.num_kept for one in weights.forget(ids[0], dry_run=True).repairs] == [0]
        (repair,) = weights.forget(ids[0]).repairs
        assert (repair.way, repair.successor_id, repair.is_exact) == ("dropped", None, True)
        assert weights.list() == ()
        assert weights.answer(ASKED[1], max_tokens=8)[0].adapter_id is None


def test_of_an_adapter_and_the_one_that_replaced_it_only_the_latter_is_repaired(memory):
    ids = [memory.add(text).cube_ids[0] for text in (TEXTS[0], "Ana Lima lives in Faro.")]
    with opened(memory) as weights:
        weights.learn()
        memory.add("Ana Lima was born in 1971.")
        weights.learn()
        assert sorted(one.state for one in weights.list()) == ["activated", "archived"]
        weights.forget(ids[0])
        assert [(one.state, one.num_facts) for one in weights.list()] == [("activated", 2)]


def test_a_stale_adapter_is_not_repaired_beside_the_one_that_learnt_anew(memory):
    ids = [memory.add(text).cube_ids[0] for text in TEXTS]
    with opened(memory) as weights:
        weights.learn()
        memory.update(ids[1], text="Bruno Sol lives in Faro.", expected_version=1)
        weights.learn()
        weights.forget(ids[0])
        assert [(one.state, one.num_facts) for one in weights.list()] == [("activated", 2)]
        assert [one.text for one in weights.answer(ASKED[1:], max_tokens=8)] == ["Faro", SAID[2]]


def test_an_adapter_that_is_stale_by_what_is_forgotten_alone_keeps_its_other_facts(memory):
    ids = [memory.add(text).cube_ids[0] for text in TEXTS]
    with opened(memory) as weights:
        weights.learn()
        memory.update(ids[0], text="Ana Lima works at Bolt.", expected_version=1)
        (repair,) = weights.forget(ids[0]).repairs
        assert (repair.num_kept, repair.is_active) == (2, True)
        assert weights.answer(ASKED[1], max_tokens=8)[0].text == SAID[1]
