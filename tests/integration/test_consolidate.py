"""consolidate: what it supersedes is no longer found, stays readable, and comes back when asked."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engramos.errors import InvalidInputError, UnknownMethodError
from engramos.memory import MemoryOS
from engramos.scope import Scope

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SAID = "Our garden has a walnut tree and two old benches."


def add(memory: MemoryOS, *texts: str, scope: Scope | None = None) -> list[str]:
    return [
        memory.add(text, speaker="Ana", at=FIRST + timedelta(days=day), scope=scope).cube_ids[0]
        for day, text in enumerate(texts)
    ]


def found(memory: MemoryOS, question: str, **how: datetime) -> set[str]:
    return {hit.id for hit in memory.search(question, **how)}


def test_a_corrected_statement_is_found_only_for_its_time(memory: MemoryOS) -> None:
    old, new = add(memory, "I live in Lisbon.", "I live in Porto.")
    done = memory.consolidate()
    assert [(one.cube_id, one.by_id) for one in done.steps[0].verdicts] == [(old, new)]
    assert found(memory, "Where do I live?") == {new}
    assert found(memory, "Where do I live?", as_of=FIRST + timedelta(hours=1)) == {old}
    assert memory.get(old).header.invalid_at == memory.get(new).header.valid_at
    assert {edge.cube_id for edge in memory.get(new).header.parents} == {old}


def test_a_dry_run_says_the_same_and_changes_nothing(memory: MemoryOS) -> None:
    old, new = add(memory, SAID, SAID)
    dry = memory.consolidate(dry_run=True)
    assert dry.is_dry_run
    assert (memory.get(old).version, memory.get(new).version) == (1, 1)
    done = memory.consolidate()
    assert [step.verdicts for step in done.steps] == [step.verdicts for step in dry.steps]
    assert done.num_superseded == 1


def test_the_second_run_finds_nothing_more_to_do(memory: MemoryOS) -> None:
    add(memory, "I live in Lisbon.", "I live in Porto.", SAID, SAID, SAID)
    assert memory.consolidate().num_superseded == 3
    again = memory.consolidate()
    assert again.num_superseded == 0
    assert [step.request_id for step in again.steps] == ["", ""]


def test_a_restored_cube_is_found_again_and_stays_so(memory: MemoryOS) -> None:
    old, new = add(memory, "I live in Lisbon.", "I live in Porto.")
    memory.consolidate()
    memory.restore(old)
    assert found(memory, "Where do I live?") == {old, new}
    assert memory.consolidate().num_superseded == 0


def test_a_whole_step_is_undone_and_not_done_again(memory: MemoryOS) -> None:
    old, middle, new = add(memory, "I live in Lisbon.", "I live in Porto.", "I live in Faro.")
    (step, _) = memory.consolidate().steps
    assert found(memory, "Where do I live?") == {new}
    dry = memory.consolidate(undo=step.request_id, dry_run=True)
    assert found(memory, "Where do I live?") == {new}
    undone = memory.consolidate(undo=step.request_id)
    assert set(undone.restored) == set(dry.restored) == {old, middle}
    assert found(memory, "Where do I live?") == {old, middle, new}
    assert memory.get(new).header.parents == ()
    assert memory.consolidate().num_superseded == 0
    assert memory.consolidate(undo=step.request_id).left


def test_an_undo_leaves_what_has_changed_or_gone_since(memory: MemoryOS) -> None:
    old, new = add(memory, "I live in Lisbon.", "I live in Porto.")
    (step, _) = memory.consolidate().steps
    memory.forget(new, act="erase")
    undone = memory.consolidate(undo=step.request_id)
    assert (undone.restored, undone.left) == ((old,), (new,))
    assert found(memory, "Where do I live?") == {old}


def test_erasing_the_earlier_keeps_the_later(memory: MemoryOS) -> None:
    old, new = add(memory, SAID, SAID)
    memory.consolidate()
    assert memory.forget(old, act="erase").cube_ids == (old,)
    assert found(memory, "walnut tree") == {new}


def test_the_journal_tells_the_method_and_one_request_a_step(memory: MemoryOS) -> None:
    old, new = add(memory, "I live in Lisbon.", "I live in Porto.")
    (step, _) = memory.consolidate().steps
    rows = [memory.history(one).journal[-1] for one in (old, new)]
    assert {(row.kind, row.reason) for row in rows} == {("supersede", "consolidate: slot_conflicts")}
    assert {row.request_id for row in rows} == {step.request_id}
    assert memory.verify().findings == ()


def test_users_and_agents_are_consolidated_apart(memory: MemoryOS) -> None:
    ben = Scope(memory.scope.tenant, "ben")
    add(memory, SAID)
    add(memory, SAID, scope=ben)
    assert memory.consolidate().num_superseded == 0
    add(memory, SAID, scope=ben)
    assert memory.consolidate().num_superseded == 0
    step = memory.consolidate(scope=ben).steps[1]
    assert len(step.verdicts) == 1
    with pytest.raises(InvalidInputError, match="superseded nothing here"):
        memory.consolidate(undo=step.request_id)


def test_links_are_reported_and_not_stored(memory: MemoryOS) -> None:
    first, second = add(memory, "We met Vera Holt at the fair.", "Last week Vera Holt called.")
    (step,) = memory.consolidate(["mention_links"]).steps
    assert {(link.from_id, link.to_id) for link in step.links} == {(first, second), (second, first)}
    assert (memory.get(first).version, step.request_id) == (1, "")


def test_methods_take_parameters_and_unknown_ones_are_refused(memory: MemoryOS) -> None:
    add(memory, SAID, SAID)
    picky = memory.consolidate(['{ method = "near_duplicates", num_content = 90 }'])
    assert picky.num_superseded == 0
    with pytest.raises(UnknownMethodError, match="near_duplicates"):
        memory.consolidate(["near_duplicate"])
    for wrong in ("near_duplicates", (), [7]):
        with pytest.raises(InvalidInputError, match="methods is"):
            memory.consolidate(wrong)
    with pytest.raises(InvalidInputError, match="superseded nothing"):
        memory.consolidate(undo="no such request")


def data(*names: str) -> Path:
    if not (folder := os.environ.get("ENGRAMOS_DATA")) or not (path := Path(folder, *names)).is_file():
        pytest.skip("set ENGRAMOS_DATA to the folder of evaluation data, which holds " + "/".join(names))
    return path


def test_corrected_facts_of_a_list_are_superseded_and_no_answer_is(memory: MemoryOS) -> None:
    read = json.loads(data("factconsolidation_style", "fc_single_hop_dev_6k.json").read_text(encoding="utf-8"))
    facts = [re.sub(r"^\d+\. ", "", line) for line in read["context"].splitlines() if re.match(r"\d+\. ", line)]
    memory.add(facts, at=FIRST)
    memory.consolidate()
    listed = [cube.text for cube in memory.list(limit=1_000) if cube.header.invalid_at is None]
    for name, most, least in (("stale_answer", 5, 0), ("answer", 100, 100)):
        texts = {f"{question['cloze']} {question[name]}." for question in read["questions"]}
        assert least <= len(texts & set(listed)) <= most, name


def test_turns_of_a_conversation_are_next_to_all_left_alone(memory: MemoryOS) -> None:
    source = data("locomo", "locomo_dev6.json")
    memory.import_file(source)
    done = memory.consolidate(dry_run=True)
    assert memory.stats()["cubes"] > 3_000
    assert (len(done.steps[0].verdicts), done.num_superseded <= 5) == (0, True)
