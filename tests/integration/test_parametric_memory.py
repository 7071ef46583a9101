"""Adapters in the vault: written, examined, found by what a question names, switched off, and never mixed up."""

import copy
import random
from pathlib import Path

import pytest
import torch
from tests.integration.parametric_models import (
    ASKED,
    LENIENT,
    LORA,
    SAID,
    TEXTS,
    drawn_adapter,
    engine,
    fresh_engine,
    opened,
)

from engramos.cube import State
from engramos.engines.base import Sampling
from engramos.errors import ConfigError, InvalidInputError, UnknownMethodError, UnsupportedError
from engramos.memory import MemoryOS
from engramos.parametric.editors.base import Request
from engramos.parametric_memory import ParametricMemory
from engramos.verbs.parametric._store import Making, judged, put

GREEDY = Sampling(max_tokens=6)
EDITOR = '{ method="rome", num_prefixes=0, clamp=8.0, steps=2 }'


def said(adapters: ParametricMemory, questions=ASKED) -> list[tuple[str, str]]:
    return [(one.text, one.source) for one in adapters.answer(questions, max_tokens=8)]


def test_facts_of_memories_become_one_adapter_that_answers_them(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        before = said(adapters)
        planned = adapters.learn(dry_run=True)
        assert planned.adapters == ()
        assert adapters.list() == ()
        assert {fact.answer for fact in planned.plan.facts} == set(SAID)
        done = adapters.learn()
        (cube,) = done.adapters
        assert (cube.header.state, done.failures) == (State.ACTIVATED, {})
        assert said(adapters) == [(text, "weights") for text in SAID]
        assert {edge.cube_id for edge in cube.header.parents} == set(ids)
        assert all(source == "base" for _, source in before)
        (listed,) = adapters.list()
        assert (listed.state, listed.num_facts, listed.stale) == ("activated", 3, ())
        assert adapters.is_base_untouched
        assert memory.verify().findings == ()


def test_what_is_known_is_not_written_again(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    with opened(memory) as adapters:
        first = adapters.learn()
        again = adapters.learn()
        assert again.adapters == ()
        assert {fact.id for fact in again.plan.known} == {fact.id for fact in first.plan.facts}


def test_a_question_about_nobody_known_is_answered_by_the_base_model(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    others = ["Where does Dana Wolf work?", "What is the capital of France?"]
    with opened(memory) as adapters:
        before = said(adapters, others)
        adapters.learn()
        mixed = said(adapters, [ASKED[0], *others])
        assert mixed == [(SAID[0], "weights"), *before]
        assert adapters.route(others[0]).adapter_id is None


def test_a_question_that_only_names_a_subject_is_answered_by_the_base_model(folder: Path) -> None:
    others = ["How old is Ana Lima?", "Where does Carla Vega work?", "Who is Bruno Sol married to?"]
    reworded = [
        "Who does Ana Lima work for?",
        "In which town does Bruno Sol live?",
        "What year was Carla Vega born in?",
    ]
    with MemoryOS.open(folder, embedder="bge_small") as memory, opened(memory) as adapters:
        ids = memory.add(list(TEXTS)).cube_ids
        (cube,) = adapters.learn().adapters
        assert [adapters.route(one).adapter_id for one in (*ASKED, *reworded)] == [cube.id] * 6
        assert [adapters.route(one).adapter_id for one in others] == [None] * 3
        assert "answers what the question asks" in adapters.route(others[0]).why
        # the answer that is gone leaves no other to be given in its place
        adapters.forget([ids[0]])
        adapters.learn()
        assert adapters.route(ASKED[0]).adapter_id is None
        assert [adapters.route(one).adapter_id is None for one in ASKED[1:]] == [False, False]


def test_another_process_finds_the_adapter_and_answers_the_same(memory: MemoryOS, folder: Path) -> None:
    memory.add(list(TEXTS))
    with opened(memory) as adapters:
        adapters.learn()
        expected = said(adapters)
    with MemoryOS.open(folder, embedder="hashing") as other, opened(other, fresh_engine()) as again:
        assert said(again) == expected


def test_an_adapter_that_fails_its_probes_says_why_and_is_never_attached(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    with opened(memory, writer=LORA, limits=LENIENT | {"recall": 1.0}) as adapters:
        done = adapters.learn()
        (listed,) = adapters.list()
        assert listed.state == "generated"
        assert listed.why[0].startswith("recall is 0 and must be at least 1")
        assert done.failures[listed.cube.id] == listed.why
        assert all(source == "base" for _, source in said(adapters))
        assert adapters.is_base_untouched


def test_learning_again_after_a_failure_leaves_no_failed_adapter_beside_the_new_one(
    memory: MemoryOS, folder: Path
) -> None:
    memory.add(list(TEXTS))
    with opened(memory, writer=LORA, limits=LENIENT | {"recall": 1.0}) as adapters:
        for seed in range(3):
            (last,) = adapters.learn(seed=seed).adapters
        assert [one.cube.id for one in adapters.list()] == [last.id]
        blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
        assert [path.name for path in blobs] == [last.digest]
        assert memory.verify().findings == ()
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        assert [(one.cube.id, one.state) for one in adapters.list()] == [(cube.id, "activated")]


def test_a_failed_adapter_with_other_facts_stays_when_some_are_learnt_again(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory, writer=LORA, limits=LENIENT | {"recall": 1.0}) as adapters:
        (wide,) = adapters.learn().adapters
        (narrow,) = adapters.learn(ids[0]).adapters
        assert {one.cube.id for one in adapters.list()} == {wide.id, narrow.id}


def test_new_facts_of_a_subject_take_the_place_of_its_adapter_and_rollback_brings_it_back(memory: MemoryOS) -> None:
    memory.add(TEXTS[0])
    with opened(memory) as adapters:
        (first,) = adapters.learn().adapters
        memory.add("Ana Lima lives in Faro.")
        (second,) = adapters.learn().adapters
        states = {one.cube.id: one.state for one in adapters.list()}
        assert states == {first.id: "archived", second.id: "activated"}
        both = [ASKED[0], "Where does Ana Lima live?"]
        assert said(adapters, both) == [("Acme", "weights"), ("Faro", "weights")]
        back = adapters.rollback()
        assert (back.cube.id, [one.id for one in back.restored]) == (second.id, [first.id])
        assert adapters.route(both[0]).adapter_id == first.id
        assert said(adapters, both[:1]) == [("Acme", "weights")]


def test_demoting_leaves_the_plaintext_and_lets_the_base_model_answer(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory) as adapters:
        before = said(adapters)
        (cube,) = adapters.learn().adapters
        done = adapters.demote(cube.id)
        assert set(done.cube_ids) == set(ids)
        assert said(adapters) == before
        assert [memory.get(one).payload.text for one in ids] == list(TEXTS)
        assert len(adapters.learn().adapters) == 1


def test_edits_act_on_everything_and_are_undone_bit_for_bit(memory: MemoryOS) -> None:
    model = fresh_engine()
    ids = model.tokens("Ana Lima lives in")
    with opened(memory, model) as adapters:
        before = model.prefill(ids, model.new_cache())
        one = adapters.edit(Request("Ana Lima lives in", "Ana Lima", "Q"), editor=EDITOR)
        with_one = model.prefill(ids, model.new_cache())
        assert not torch.equal(before, with_one)
        other = adapters.edit(Request("The lamp Zorvex was made by", "Zorvex", "7"), editor=EDITOR)
        adapters.undo(other.id)
        assert torch.equal(model.prefill(ids, model.new_cache()), with_one)
        adapters.undo(one.id)
        assert torch.equal(model.prefill(ids, model.new_cache()), before)
        assert adapters.is_base_untouched
        again = adapters.edit(Request("Ana Lima lives in", "Ana Lima", "Q"), editor=EDITOR)
        assert again.header.state is State.ACTIVATED
    assert torch.equal(model.prefill(ids, model.new_cache()), before), "a closed memory holds nothing"
    with opened(memory, model):
        assert torch.equal(model.prefill(ids, model.new_cache()), with_one), "an opened one holds its edits again"
    assert model.base.held == ()


def test_kv_cubes_of_a_model_are_never_served_with_other_adapters(memory: MemoryOS) -> None:
    model = fresh_engine()
    one, other = drawn_adapter(model, 1), drawn_adapter(model, 2)
    text, question = "The roof was mended in March by Ana. " * 3, "When was it?"
    with memory.kv(model, codec="full") as plain, memory.kv(model.adapted([one]), codec="full") as first:
        built, own = plain.build(text), first.build(text)
        assert built.id != own.id
        for kv, cube in ((plain, built), (first, own)):
            warm, cold = kv.answer(text + question, GREEDY).finish(), kv.answer(text + question, GREEDY, uses_kv=False)
            assert warm.cube_id == cube.id
            assert warm.produced == cold.finish().produced
        for adapters in ([other], [one, other], [other, one]):
            with memory.kv(model.adapted(adapters), codec="full") as kv:
                assert kv.lookup(text) is None
                assert kv.answer(text + question, GREEDY).finish().cached_tokens == 0
        # what is held from now on changes what an open memory of cubes may serve, at once
        model.base.hold(other)
        assert plain.lookup(text) is None
        assert plain.answer(text + question, GREEDY).finish().cached_tokens == 0
        model.base.release(other)
        assert plain.answer(text + question, GREEDY).finish().cube_id == built.id


def registered(adapters: ParametricMemory, num: int) -> dict[str, object]:
    """Put random adapters into the vault, each found by a name that is the beginning of others."""
    found = {}
    weights = adapters._weights
    for number in range(num):
        adapter = drawn_adapter(adapters.engine, number, layers=(1,), kinds=("down_proj",), size=0.6)
        cube = put(weights, adapter, (), Making("import", "import", names=(f"Zed{'x' * (number % 7)} {number}",)), ())
        found[judged(weights, cube, {}, (), "gated").id] = adapter
    weights.shelf.sync()
    return found


def test_two_hundred_adapters_are_told_apart_and_memory_grows_by_their_bytes_alone(memory: MemoryOS) -> None:
    with opened(memory) as adapters:
        made = registered(adapters, 200)
        assert adapters.ram_bytes_used == 0, "what nobody asked for is not loaded"
        names = {one.cube.id: one.names[0] for one in adapters.list()}
        assert names.keys() == made.keys()
        chosen = random.Random(0).sample(sorted(made), 8)
        questions = [f"What does {names[one]} do?" for one in chosen]
        answers = adapters.answer(questions, max_tokens=4)
        assert [one.adapter_id for one in answers] == chosen
        assert adapters.ram_bytes_used == sum(made[one].num_bytes for one in chosen)
        model = adapters.engine
        for question, answer, one in zip(questions, answers, chosen, strict=True):
            prompt = model.chat_tokens([{"role": "user", "content": question}])
            (alone,) = model.generate_batch([prompt], Sampling(max_tokens=4), [made[one]])
            assert answer.text == model.text(alone).strip()


def test_adapters_in_memory_keep_to_their_budget(memory: MemoryOS) -> None:
    with opened(memory) as adapters:
        size = next(iter(registered(adapters, 6).values())).num_bytes
    with opened(memory, ram_bytes=2 * size) as adapters:
        for listed in (*adapters.list(), *adapters.list()):
            assert adapters.answer(f"Who is {listed.names[0]}?", max_tokens=1)[0].adapter_id == listed.cube.id
            assert adapters.ram_bytes_used <= 2 * size
    with pytest.raises(ConfigError, match="ram_bytes"):
        opened(memory, ram_bytes=0)


def test_recall_says_whether_weights_or_memories_have_answered(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    with opened(memory) as adapters:
        alone = adapters.recall(ASKED[0], max_tokens=4)
        assert (alone.source, alone.adapter_id) == ("context", None)
        adapters.learn()
        forced = adapters.recall(ASKED[0], arbitration="weights_first", max_tokens=8)
        assert (forced.text, forced.source) == (SAID[0], "weights")
        first = adapters.recall(ASKED[0], arbitration="context_first", max_tokens=8)
        assert first.source == "context"
        assert first.is_conflict
        assert adapters.recall(ASKED[0], arbitration="ask", max_tokens=8).source == "nobody"


def test_an_exported_adapter_comes_back_and_must_be_probed_again(memory: MemoryOS, tmp_path: Path) -> None:
    memory.add(list(TEXTS))
    with opened(memory, writer=LORA) as adapters:
        (cube,) = adapters.learn().adapters
        path = adapters.export(cube.id, tmp_path / "peft")
        assert {one.name for one in path.iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
            "memory.json",
        }
        back = adapters.import_adapter(path, names=("Ana Lima",))
        assert back.header.state is State.GENERATED
        assert back.payload.attributes["adapter_digest"] == cube.payload.attributes["adapter_digest"]
        adapters.demote(cube.id)
        assert adapters.route(ASKED[0]).adapter_id is None


def test_a_merge_is_a_new_adapter_that_takes_the_place_of_its_parts(memory: MemoryOS) -> None:
    ids = memory.add(list(TEXTS)).cube_ids
    with opened(memory, writer=LORA) as adapters:
        parts = [adapters.learn(one).adapters[0] for one in ids[:2]]
        merged = adapters.merge([one.id for one in parts]).cube
        states = {one.cube.id: one.state for one in adapters.list()}
        assert states == {parts[0].id: "archived", parts[1].id: "archived", merged.id: "activated"}
        assert [adapters.route(question).adapter_id for question in ASKED[:2]] == [merged.id, merged.id]
        with pytest.raises(InvalidInputError, match="1 adapters cannot be merged"):
            adapters.merge([merged.id])


def test_old_facts_are_asked_again_through_the_router(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
        found = adapters.retain()
        assert (found.recall, found.lost, found.mean) == ({cube.id: 1.0}, (), 1.0)


def test_what_is_asked_wrongly_is_a_named_error_when_opened(memory: MemoryOS) -> None:
    for wrong, error in (
        ({"writer": "nobody"}, UnknownMethodError),
        ({"router": "nobody"}, UnknownMethodError),
        ({"profile": "nobody"}, ConfigError),
        ({"limits": {"recal": 0.5}}, ConfigError),
        ({"trust_from": 1.5}, ConfigError),
    ):
        with pytest.raises(error):
            opened(memory, **wrong)
    with pytest.raises(UnsupportedError, match="hosts no model"):
        memory.parametric(copy.copy)


def test_a_probe_of_its_own_may_switch_an_adapter_off(memory: MemoryOS) -> None:
    memory.add(list(TEXTS))
    with opened(memory) as adapters:
        (cube,) = adapters.learn().adapters
    with opened(memory, limits=LENIENT | {"paraphrase": 1.0, "text_agreement_on": 1.0}) as strict:
        assert strict.probe(cube.id, dry_run=True).failures
        assert strict.route(ASKED[0]).adapter_id == cube.id
        assert strict.probe(cube.id).failures
        assert strict.route(ASKED[0]).adapter_id is None
        assert engine().base.held == ()
