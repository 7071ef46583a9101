"""What is forgotten leaves the weights with its sources: exact by construction, and nothing else is lost (P21)."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.parametric_models import ASKED, LORA, SAID, TEXTS, engine, opened

from engramos.cube import MemCube, Relation
from engramos.errors import CubeNotFoundError, InvalidInputError
from engramos.memory import MemoryOS
from engramos.parametric.editors.base import Request
from engramos.parametric.lesson import Lesson
from engramos.parametric.writers.knn import Knn
from engramos.testing import FakeClock
from engramos.verbs.parametric._lessons import lesson_of
from engramos.verbs.parametric._store import Making, put


def files_of(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}


def sources_of(cube: MemCube) -> set[str]:
    return {edge.cube_id for edge in cube.header.parents if edge.relation is Relation.DERIVED_FROM}


@pytest.mark.parametrize(("writer", "way"), [("knn", "rows deleted"), (LORA, "written anew")])
def test_forgetting_one_source_erases_the_adapter_and_its_successor_has_the_rest(
    memory: MemoryOS, folder: Path, writer: str, way: str
) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory, writer=writer) as adapters:
        (cube,) = adapters.learn().adapters
        assert files_of(folder) == {cube.digest}
        done = adapters.forget(ids[0], reason="asked to")
        (repair,) = done.repairs
        assert (repair.adapter_id, repair.way, repair.is_exact, repair.num_kept) == (cube.id, way, True, 2)
        assert set(done.forgotten.cube_ids) == {ids[0], cube.id}
        with pytest.raises(CubeNotFoundError):
            memory.get(cube.id)
        (left,) = adapters.list()
        assert left.cube.id == repair.successor_id
        assert (left.state, left.num_facts, sources_of(left.cube)) == ("activated", 2, set(ids[1:]))
        assert files_of(folder) == {left.cube.digest}
        assert adapters.route(ASKED[0]).adapter_id is None
        assert adapters.route(ASKED[1]).adapter_id == left.cube.id
        assert adapters.is_base_untouched
        assert memory.verify().findings == ()


def test_rows_that_are_left_are_bit_for_bit_those_that_would_have_been_written_without_the_forgotten(
    tmp_path: Path,
) -> None:
    digests = []
    for number, texts in enumerate((TEXTS, TEXTS[1:])):
        with MemoryOS.open(tmp_path / f"memory{number}", embedder="hashing") as memory, opened(memory) as adapters:
            ids = dict(zip(texts, memory.add(list(texts)).cube_ids, strict=True))
            weights = adapters._weights
            facts = adapters.learn(dry_run=True).plan.facts
            # one lesson for both: what must not be answered is the same, whoever is forgotten
            guards = lesson_of(())
            written = Knn().write(Lesson(facts, (), (), guards.retained, guards.common), weights.base)
            put(weights, written.adapter, facts, Making("learn", "knn"))
            if TEXTS[0] in ids:
                adapters.forget(ids[TEXTS[0]])
            (left,) = adapters.list()
            digests.append(left.cube.payload.attributes["adapter_digest"])
            assert left.num_facts == 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize("act", ["supersede", "expire"])
def test_what_is_no_longer_so_leaves_the_weights_and_the_cube_stays(memory: MemoryOS, folder: Path, act: str) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        done = adapters.forget(ids[0], act=act)
        (repair,) = done.repairs
        (left,) = adapters.list()
        assert (left.cube.id, left.num_facts) == (repair.successor_id, 2)
        assert files_of(folder) == {left.cube.digest}
        assert cube.id not in {one.cube.id for one in adapters.list()}
        assert [(one.text, one.source) for one in adapters.answer(ASKED[1:], max_tokens=8)] == [
            (text, "weights") for text in SAID[1:]
        ]
        assert adapters.route(ASKED[0]).adapter_id is None


def test_an_adapter_of_the_forgotten_alone_is_dropped(memory: MemoryOS, folder: Path) -> None:
    ids = memory.add(list(TEXTS[:1])).cube_ids
    with opened(memory) as adapters:
        adapters.learn()
        (expected,) = adapters.forget(ids, dry_run=True).repairs
        assert len(adapters.list()) == 1
        (repair,) = adapters.forget(ids).repairs
        assert (repair.way, repair.successor_id) == (expected.way, None)
        assert repair.way == "dropped"
        assert adapters.list() == ()
        assert files_of(folder) == set()


def test_a_fact_that_another_source_states_too_stays(memory: MemoryOS) -> None:
    first = memory.add(TEXTS[0]).cube_ids
    memory.add([TEXTS[1], "Where does Ana Lima work? Ana Lima works at Acme."])
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        shared = [ref for ref in cube.payload.attributes["facts"] if len(ref["sources"]) > 1]
        assert len(shared) == 1, "two sources must state one fact, or nothing is shown"
        adapters.forget(first)
        assert adapters.answer(ASKED[0], max_tokens=8)[0].text == SAID[0]


def test_the_memory_alone_erases_what_was_derived_from_a_source(memory: MemoryOS, folder: Path) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
    done = memory.forget(ids[0], act="erase")
    assert set(done.cube_ids) == {ids[0], cube.id}
    assert done.blobs == (cube.digest,)
    assert files_of(folder) == set()
    with opened(memory) as adapters:
        assert adapters.list() == ()
        assert adapters.route(ASKED[1]).adapter_id is None
        (again,) = adapters.learn().adapters
        assert sources_of(again) == set(ids[1:])


def test_an_adapter_in_memory_is_gone_with_an_erasure_elsewhere(memory: MemoryOS, folder: Path) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        adapters.learn()
        assert adapters.answer(ASKED[0], max_tokens=8)[0].text == SAID[0]
        assert adapters.ram_bytes_used > 0
        with MemoryOS.open(folder, embedder="hashing") as other:
            other.forget(ids[0], act="erase")
        assert adapters.answer(ASKED[0], max_tokens=8)[0].source == "base"
        assert adapters.ram_bytes_used == 0


def test_an_adapter_itself_is_erased_like_any_cube(memory: MemoryOS, folder: Path) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        memory.forget(cube.id, act="erase")
        assert adapters.route(ASKED[0]).adapter_id is None
        assert files_of(folder) == set()
        assert [memory.get(one).payload.text for one in ids] == list(TEXTS)
        (own,) = adapters.learn().adapters
        done = adapters.forget(own.id)
        assert (done.forgotten.cube_ids, done.repairs) == ((own.id,), ())


def test_a_source_that_is_changed_makes_the_adapter_stale_and_it_is_not_attached(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        memory.update(ids[0], text="Ana Lima works at Zeta.", expected_version=1)
        (listed,) = adapters.list()
        assert listed.state == "stale"
        assert [(one.cube_id, one.why) for one in listed.stale] == [(ids[0], "version 2")]
        routed = adapters.route(ASKED[1])
        assert routed.adapter_id is None
        assert routed.why == f"adapter {cube.id} is stale: source {ids[0]} is version 2"
        adapters.learn()
        assert [one.text for one in adapters.answer(ASKED, max_tokens=8)] == ["Zeta", *SAID[1:]]


def test_an_adapter_ends_with_the_first_of_its_sources(folder: Path, clock: FakeClock) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        memory.add(TEXTS[1])
        (source,) = memory.add(TEXTS[0], keep_for=timedelta(days=3)).cube_ids
        end = memory.get(source).header.retention.expires_at
        assert end is not None
        with opened(memory) as adapters:
            (cube,) = adapters.learn().adapters
            assert cube.header.retention.expires_at == end
            assert adapters.route(ASKED[1]).adapter_id == cube.id
            clock.advance(days=4)
            assert adapters.route(ASKED[1]).adapter_id is None


def test_a_receipt_of_forgetting_repeats_nothing_of_what_was_forgotten(memory: MemoryOS, folder: Path) -> None:
    ids = memory.add(["Quentin Quokka lives in Quokkatown.", TEXTS[1]]).cube_ids
    with opened(memory) as adapters:
        adapters.learn()
        adapters.forget(ids[0])
    left = [str(path) for path in folder.rglob("*") if path.is_file() and b"uokka" in path.read_bytes()]
    assert left == []


def test_edits_are_not_forgotten_with_sources_they_do_not_have(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        request = Request("Ana Lima lives in", "Ana Lima", "Q")
        edit = adapters.edit(request, editor='{ method="rome", num_prefixes=0, clamp=8.0, steps=2 }')
        assert adapters.forget(ids[0]).repairs == ()
        assert [one.cube.id for one in adapters.list()] == [edit.id]
        with pytest.raises(InvalidInputError):
            adapters.forget(())
        adapters.undo(edit.id)
    assert engine().base.held == ()
