"""KV cubes in the vault: built once, found by their tokens, exact, never stale, and within their budgets."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tests.integration.kv_models import QUESTION, TEXT, engine

from engramos.changes import Freeze
from engramos.clock import now
from engramos.cube import Relation, State
from engramos.engines.base import Sampling
from engramos.errors import ConfigError, CubeNotFoundError, InvalidInputError, UnknownMethodError, UnsupportedError
from engramos.kv import KVMemory
from engramos.lifecycle import move
from engramos.memory import MemoryOS
from engramos.testing.tiny_models import ARCHITECTURES
from engramos.verbs.kv.context import ATTACH_S

GREEDY = Sampling(max_tokens=6)


@pytest.fixture
def kv(memory: MemoryOS) -> Iterator[KVMemory]:
    with memory.kv(engine(), codec="full") as opened:
        yield opened


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_answer_after_a_stored_prefix_is_the_answer_after_a_prefill(memory: MemoryOS, architecture: str) -> None:
    with memory.kv(engine(architecture), codec="full") as kv:
        built = kv.build(TEXT)
        warm = kv.answer(TEXT + QUESTION, GREEDY).finish()
        cold = kv.answer(TEXT + QUESTION, GREEDY, uses_kv=False).finish()
        assert (warm.cube_id, warm.cached_tokens, cold.cached_tokens) == (built.id, built.num_tokens, 0)
        assert warm.produced == cold.produced
        assert warm.notes == []


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_p18_scores_with_a_stored_prefix_equal_scores_without(memory: MemoryOS, architecture: str) -> None:
    model = engine(architecture)
    ids, more = model.tokens(TEXT), model.tokens(QUESTION)
    with memory.kv(model, codec="full") as kv:
        stored = kv.attach(kv.build(TEXT).id)
        fresh = model.new_cache()
        model.prefill(ids, fresh)
        difference = (model.prefill(more, stored) - model.prefill(more, fresh)).abs().max()
        assert difference <= 1e-4
        print(f"\n{architecture}: largest difference of scores {float(difference):.2e}")


def test_a_prompt_that_is_stored_as_a_whole_reads_its_last_token_alone(kv: KVMemory) -> None:
    built = kv.build(TEXT)
    said = kv.answer(TEXT, GREEDY).finish()
    assert said.cached_tokens == built.num_tokens - 1
    assert said.produced == kv.answer(TEXT, GREEDY, uses_kv=False).finish().produced


def test_a_prompt_that_goes_another_way_uses_what_it_shares(kv: KVMemory) -> None:
    kv.build(TEXT)
    other = TEXT[:100] + "nobody knows when."
    said = kv.answer(other, GREEDY).finish()
    assert said.cached_tokens == 100
    assert said.produced == kv.answer(other, GREEDY, uses_kv=False).finish().produced
    assert kv.explain(other).reason == "partial"


def test_a_second_build_of_the_same_tokens_returns_the_first_cube(kv: KVMemory, memory: MemoryOS, folder: Path) -> None:
    first, second = kv.build(TEXT, title="roof"), kv.build(TEXT)
    assert (first.is_new, second.is_new, first.id) == (True, False, second.id)
    assert not kv.build(token_ids=kv.engine.tokens(TEXT)).is_new
    assert kv.build(TEXT, codec="int8").is_new
    with MemoryOS.open(folder, embedder="hashing") as other, other.kv(engine(), codec="full") as again:
        assert not again.build(TEXT).is_new
    assert memory.verify().findings == ()


def test_threads_that_build_the_same_tokens_make_one_cube(kv: KVMemory) -> None:
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: kv.build(TEXT), range(8)))
    assert len({one.id for one in built}) == 1
    assert [one.is_new for one in built].count(True) == 1
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: kv.answer(TEXT + QUESTION, GREEDY).finish(), range(8)))
    assert len({tuple(one.produced) for one in said}) == 1
    assert {one.cube_id for one in said} == {built[0].id}


def test_a_cube_says_what_it_was_made_of(kv: KVMemory, memory: MemoryOS) -> None:
    cube = memory.get(kv.build(TEXT, title="roof").id)
    assert (cube.header.form, cube.header.type, cube.header.method) == ("activation", "prefix", "kv_build")
    assert cube.payload.token_ids == tuple(kv.engine.tokens(TEXT))
    assert cube.payload.attributes["title"] == "roof"
    assert cube.payload.fingerprint["weights"] == "weights-1"
    assert memory.search("roof harbour Ana") == [], "a KV cube is no text"


def test_messages_are_built_in_the_chat_template(kv: KVMemory) -> None:
    said = [{"role": "system", "content": TEXT}]
    built = kv.build(messages=said)
    answer = kv.answer([*said, {"role": "user", "content": QUESTION}], GREEDY).finish()
    assert answer.cached_tokens == built.num_tokens


def test_attaching_never_changes_the_cube(kv: KVMemory) -> None:
    built = kv.build(TEXT)
    first = kv.attach(built.id)
    before = [layer.stretches[0].keys.clone() for layer in first.memory_layers]
    kv.answer(TEXT + QUESTION, GREEDY).finish()
    kv.engine.prefill(kv.engine.tokens("something else"), first)
    second = kv.attach(built.id)
    after = [layer.stretches[0].keys for layer in second.memory_layers]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_other_processes_find_what_was_built_and_miss_what_was_dropped(kv: KVMemory, folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as other, other.kv(engine(), codec="full") as theirs:
        built = kv.build(TEXT)
        assert theirs.answer(TEXT + QUESTION, GREEDY).finish().cube_id == built.id
        assert theirs.ram_bytes_used > 0
        kv.drop(built.id)
        assert theirs.lookup(TEXT) is None
        assert theirs.ram_bytes_used == 0


# Promise P14: tenants and users


def test_p14_a_prompt_of_one_tenant_or_user_is_not_cached_for_another(folder: Path) -> None:
    owners = [("a", "ana", None), ("b", "ana", None), ("a", "bo", None), ("a", "ana", "robot")]
    keys = set()
    for number, (tenant, user, agent) in enumerate(owners):
        with (
            MemoryOS.open(folder, embedder="hashing", tenant=tenant, user=user, agent=agent) as memory,
            memory.kv(engine(), codec="full") as kv,
        ):
            said = kv.answer(TEXT + QUESTION, GREEDY).finish()
            assert said.cached_tokens == 0, f"{tenant}/{user}/{agent} was served what others stored"
            found = kv.explain(TEXT + QUESTION)
            assert (found.reason, found.cube_id, found.num_tokens) == ("absent", None, 0)
            # the owner without an agent sees its agents' cubes, so it comes first
            kv.build(TEXT)
            keys.add(kv._kv.chain(kv.engine.tokens(TEXT)).hashes)
            assert kv.answer(TEXT + QUESTION, GREEDY).finish().cached_tokens == len(kv.engine.tokens(TEXT))
        assert len(keys) == number + 1
    blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == len(owners), "equal prompts of different owners share no blob"


def test_a_cube_of_another_tenant_looks_like_none(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing", tenant="a") as memory, memory.kv(engine()) as kv:
        built = kv.build(TEXT)
    with MemoryOS.open(folder, embedder="hashing", tenant="b") as memory, memory.kv(engine()) as kv:
        for act in (kv.attach, kv.drop, kv.is_stale, lambda one: kv.prefetch([one]), lambda one: kv.fuse([one])):
            with pytest.raises(CubeNotFoundError) as foreign:
                act(built.id)
            with pytest.raises(CubeNotFoundError) as unknown:
                act("0" * 26)
            assert str(foreign.value).replace(built.id, "") == str(unknown.value).replace("0" * 26, "")


# Bridge to plaintext


@pytest.fixture
def told(memory: MemoryOS) -> tuple[str, ...]:
    first = memory.add("The roof was mended in March.", trust=0.5).cube_ids
    return first + memory.add("Ana has a cat called Miso.", keep_for=timedelta(days=3)).cube_ids


def test_a_promoted_cube_descends_from_exact_versions_in_their_order(
    kv: KVMemory, memory: MemoryOS, told: tuple[str, ...]
) -> None:
    cube = memory.get(kv.promote(told).id)
    assert [(edge.relation, edge.cube_id, edge.version) for edge in cube.header.parents] == [
        (Relation.DERIVED_FROM, one, 1) for one in told
    ]
    assert cube.header.trust == 0.5
    assert cube.header.retention.expires_at == memory.get(told[1]).header.retention.expires_at
    assert cube.payload.attributes["order"] == list(told)
    assert cube.payload.attributes["template"] == "chat"
    assert not kv.promote(told).is_new


def test_a_context_takes_the_kv_form_where_a_fresh_cube_has_its_block(kv: KVMemory, told: tuple[str, ...]) -> None:
    question = "When was the roof of Ana with the cat Miso mended?"
    text = kv.context(question)
    assert (text.form, text.why) == ("text", "no fresh KV cube begins as this prompt does")
    built = kv.context(question, form="kv")
    assert (built.form, built.block.cube_ids) == ("kv", told)
    assert built.cached_tokens > len(kv.engine.tokens(built.block.text))
    said = kv.answer(built.token_ids, GREEDY).finish()
    assert said.cached_tokens == built.cached_tokens
    assert said.produced == kv.answer(text.token_ids, GREEDY, uses_kv=False).finish().produced
    assert kv.context(question, form="text").form == "text"


def test_the_cheaper_form_is_taken(kv: KVMemory, told: tuple[str, ...]) -> None:
    question = "When was the roof of Ana with the cat Miso mended?"
    built = kv.context(question, form="kv")
    kv._kv.loaded_bytes, kv._kv.loaded_us = 1, 1_000_000
    slow = kv.context(question)
    assert (slow.form, slow.cube_id) == ("text", None)
    assert slow.load_s > slow.prefill_s
    assert "cheaper" in slow.why
    kv.attach(built.cube_id)
    fast = kv.context(question)
    assert fast.load_s == ATTACH_S, "a tier in memory has it: nothing is read"


def test_without_an_engine_a_context_is_text(memory: MemoryOS, told: tuple[str, ...]) -> None:
    assert memory.context("roof", form="auto") == memory.context("roof", form="text")
    with pytest.raises(UnsupportedError, match=r"memory\.kv"):
        memory.context("roof", form="kv")
    with pytest.raises(InvalidInputError, match="form"):
        memory.context("roof", form="weights")


@pytest.mark.parametrize("act", ["edit", "supersede", "expire"])
def test_a_source_that_changes_makes_the_cube_stale_at_once(
    kv: KVMemory, memory: MemoryOS, told: tuple[str, ...], act: str
) -> None:
    built = kv.promote(told)
    ids = built.cube.payload.token_ids
    assert kv.lookup(ids).cube_id == built.id
    if act == "edit":
        memory.update(told[0], text="The roof was mended in April.", expected_version=1)
    else:
        memory.forget(told[0], act=act)
    (stale,) = kv.is_stale(built.id)
    assert (stale.cube_id, stale.version) == (told[0], 1)
    assert kv.explain(ids).reason == "stale"
    assert kv.lookup(ids) is None
    assert kv.answer(ids, GREEDY).finish().cached_tokens == 0
    with pytest.raises(InvalidInputError, match="stale"):
        kv.attach(built.id)
    assert kv.attach(built.id, allow_stale=True).num_tokens == built.num_tokens
    assert kv.lookup(ids, allow_stale=True).cube_id == built.id
    (done,) = kv.refresh()
    assert done.old_id == built.id
    fresh = memory.get(done.new_id)
    assert not kv.is_stale(fresh)
    assert [edge.cube_id for edge in fresh.header.parents] == list(told if act == "edit" else told[1:])
    with pytest.raises(CubeNotFoundError):
        memory.get(built.id)
    assert kv.refresh() == []


def test_a_cube_whose_sources_are_all_gone_or_hidden_is_not_built_anew(kv: KVMemory, memory: MemoryOS) -> None:
    ids = memory.add("only one").cube_ids
    built = kv.promote(ids)
    memory.forget(ids, act="expire")
    assert [(one.old_id, one.new_id) for one in kv.refresh()] == [(built.id, None)]
    assert kv.list() == []


# Tiers and budgets


def test_what_is_attached_is_not_evicted_and_is_again_when_it_is_let_go(memory: MemoryOS) -> None:
    with memory.kv(engine(), codec="full") as kv:
        first, second = kv.build(TEXT), kv.build(TEXT[3:])
        one_bytes = kv.attach(first.id).num_bytes
    gc.collect()
    with memory.kv(engine(), codec="full", ram_bytes=one_bytes + 10) as kv:
        held = kv.attach(first.id)
        kv.attach(second.id)
        assert [one.tier for one in kv.list()] == ["ram", "disk"]
        del held
        gc.collect()
        kv.attach(second.id)
        assert [one.tier for one in kv.list()] == ["disk", "ram"]
        assert kv.ram_bytes_used <= one_bytes + 10


def test_prefetch_loads_what_a_request_will_need(kv: KVMemory) -> None:
    built = kv.build(TEXT)
    assert kv.list()[0].tier == "disk"
    for future in kv.prefetch([built.id]):
        future.result(timeout=30)
    assert kv.list()[0].tier == "ram"
    assert kv.prefetch([built.id]) == []


def test_the_least_useful_cubes_give_way_on_disk(memory: MemoryOS) -> None:
    with memory.kv(engine(), codec="full") as kv:
        size = kv.build(TEXT).num_bytes
        kv.drop(kv.list()[0].cube.id)
    budget = 3 * size + 3 * 20_000
    with memory.kv(engine(), codec="full", disk_bytes=budget) as kv:
        built = [kv.build(f"{number} {TEXT}").id for number in range(3)]
        frozen = memory.get(built[0])
        memory._parts.commit([Freeze(move(frozen, State.FROZEN, now(), actor="me"))], memory.scope)
        held = kv.attach(built[1])
        newest = kv.build(f"9 {TEXT}").id
        assert [one.cube.id for one in kv.list()] == [built[0], built[1], newest]
        assert kv.explain(f"2 {TEXT}").reason == "evicted"
        assert memory.history(built[2]).journal[-1].reason == "kv: no room on disk"
        assert held.num_tokens
        blobs = [path for path in (memory.settings.folder / "blobs").rglob("*") if path.is_file()]
        assert len(blobs) == 3
        assert sum(path.stat().st_size for path in blobs) <= budget
    assert memory.verify().findings == ()


# Pieces and conversations


def test_pieces_in_any_order_are_fused_and_say_that_they_are_approximate(kv: KVMemory) -> None:
    first, second = kv.build(TEXT[:90], is_piece=True), kv.build("Miso is a cat. " * 4, is_piece=True)
    said = kv.answer(QUESTION, GREEDY, pieces=[second.id, first.id]).finish()
    assert said.cached_tokens == first.num_tokens + second.num_tokens
    assert said.notes[0].startswith("approximate: 2 pieces")
    assert kv.lookup(TEXT[:90]) is None, "a piece is no prefix"
    whole = '{ method = "blend", ratio = 1.0 }'
    exact = kv.answer(QUESTION, GREEDY, pieces=[second.id, first.id], fusion=whole).finish()
    cold = kv.answer("Miso is a cat. " * 4 + TEXT[:90] + QUESTION, GREEDY, uses_kv=False).finish()
    assert exact.produced == cold.produced


def test_an_order_that_is_stored_as_one_prefix_is_taken_exactly(kv: KVMemory) -> None:
    pieces = [kv.build(TEXT[:50]).id, kv.build(TEXT[50:90]).id]
    whole = kv.build(TEXT[:90])
    fused = kv.fuse(pieces)
    assert (fused.cube_id, fused.notes) == (whole.id, ())


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_a_conversation_reads_only_what_is_new_and_says_the_same(memory: MemoryOS, architecture: str) -> None:
    with memory.kv(engine(architecture)) as kv:
        kept, plain = kv.conversation(), kv.conversation(uses_kv=False)
        messages, cached = [], []
        for turn in range(4):
            messages.append({"role": "user", "content": f"question {turn}: {TEXT[: 40 + turn]}"})
            said = kept.answer(messages, GREEDY).finish()
            assert said.produced == plain.answer(messages, GREEDY).finish().produced
            messages.append({"role": "assistant", "content": said.text})
            cached.append(said.cached_tokens)
        assert cached[0] == 0
        assert all(one < other for one, other in pairwise(cached))


def test_a_prompt_is_stored_while_it_is_answered_where_that_is_asked(kv: KVMemory) -> None:
    said = kv.answer(TEXT + QUESTION, GREEDY, stores=True).finish()
    assert kv.lookup(TEXT + QUESTION).cube_id == said.stored_id
    assert kv.answer(TEXT + QUESTION, GREEDY, stores=True).stored_id == said.stored_id
    assert len(kv.list()) == 1
    assert kv.answer(TEXT + QUESTION, GREEDY).finish().produced == said.produced


def test_a_cube_that_keeps_a_quarter_is_a_quarter_as_large_and_is_attached_by_its_id_alone(
    kv: KVMemory, memory: MemoryOS
) -> None:
    text = "The roof was mended in March, and the door in May, by the same two men. " * 4
    whole, part = kv.build(text, codec="full"), kv.build(text, codec="full", kept=0.25, policy="streaming_llm")
    assert part.is_new
    assert part.id != whole.id
    assert part.num_bytes < 0.3 * whole.num_bytes
    assert kv.build(text, codec="full", kept=0.25, policy="streaming_llm").id == part.id
    assert kv.build(text, codec="full", kept=0.25, policy="knorm").is_new
    cache = kv.attach(part.id)
    assert cache.num_tokens == whole.num_tokens
    assert cache.kept_tokens == whole.num_tokens // 4
    match = kv.lookup(text + " And then?")
    assert match is not None
    assert match.cube_id == whole.id
    kv.drop(whole.id)
    assert kv.lookup(text + " And then?") is None
    assert memory.get(part.id).payload.kept_ratio == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"policy": "snapkv"}, InvalidInputError),
        ({"kept": 0.5, "is_piece": True}, InvalidInputError),
        ({"kept": 0.0}, ConfigError),
        ({"kept": 1.5}, ConfigError),
        ({"kept": 0.5, "policy": "snapk"}, UnknownMethodError),
    ],
)
def test_a_wrong_way_of_removing_tokens_is_refused(kv: KVMemory, given: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        kv.build("The roof was mended in March.", **given)
    assert kv.list() == []
