"""explain: where a cube stands among the answers, and why, or why not."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from engramos import MemoryOS
from engramos.changes import Archive, Freeze, Request
from engramos.clock import new_id, now
from engramos.cube import Grant, State
from engramos.errors import CubeNotFoundError
from engramos.lifecycle import move
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.verbs.explain import explain
from engramos.verbs.search import SearchOptions

WORDS = "harbour lantern cinnamon violin granite saffron meadow kettle ledger orchard".split()
NAMES = ("Ana", "Bo", "Cy")
APRIL = datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture
def talk(memory: MemoryOS) -> MemoryOS:
    rng = random.Random(5)
    for session in range(6):
        at = datetime(2024, 1 + session, 3, tzinfo=UTC)
        for turn in range(20):
            said = " ".join(rng.choices(WORDS, k=rng.randint(3, 9)))
            speaker = rng.choice(NAMES)
            memory.add(said, speaker=speaker, session=f"s{session}", at=at + timedelta(minutes=turn))
    return memory


def questions() -> list[str]:
    rng = random.Random(8)
    shapes = ("Where is the {}?", "What did {name} say about {} and {}?", "{} in March 2024", "the {} two weeks ago")
    return [rng.choice(shapes).format(*rng.sample(WORDS, 2), name=rng.choice(NAMES)) for _ in range(50)]


def test_the_parts_of_every_hit_sum_to_its_score(talk: MemoryOS) -> None:
    asked_at = datetime(2024, 6, 10, tzinfo=UTC)
    num = 0
    for question in questions():
        hits = talk.search(question, limit=25, asked_at=asked_at)
        for hit in hits:
            assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-4)
            num += 1
        for rank, hit in [(1, hits[0]), (len(hits), hits[-1])]:
            placing = talk.explain(hit.id, question, asked_at=asked_at).placing
            assert placing.rank == rank
            assert placing.score == pytest.approx(hit.score, abs=1e-4)
            assert sum(placing.parts.values()) == pytest.approx(placing.score, abs=1e-4)
            assert placing.parts == pytest.approx({name: part for name, part in hit.parts.items() if part}, abs=1e-4)
            assert f"place {rank} of" in placing.reason
            assert max(placing.parts, key=placing.parts.get) in placing.reason
            assert placing.num_candidates == 120
    assert num >= 1_000


def test_a_cube_that_no_step_finds_is_said_to_be_so(folder) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        cube_id = memory.add(["a lantern", "the kettle"]).cube_ids[1]
        placing = memory.explain(cube_id, "lantern").placing
        assert (placing.rank, placing.score, dict(placing.parts), placing.num_candidates) == (None, 0.0, {}, 2)
        assert "no step of the plan" in placing.reason


def commit(memory: MemoryOS, change: object) -> None:
    memory._parts.vault.commit([change], scope=memory.scope, request=Request("test", new_id()))


def test_each_reason_for_not_being_found_is_told(memory: MemoryOS) -> None:
    ids = memory.add([f"the lantern {number}" for number in range(8)], session="s1", at=APRIL).cube_ids
    memory.forget(ids[0], act="expire")
    memory.forget(ids[1], act="supersede", at=datetime(2024, 5, 1, tzinfo=UTC))
    commit(memory, Archive(move(memory.get(ids[2]), State.ARCHIVED, now(), actor="t")))
    commit(memory, Freeze(move(memory.get(ids[3]), State.FROZEN, now(), actor="t")))
    narrow = Scope("local", memory.scope.user, session="s2")
    agent = Scope("local", memory.scope.user, agent="planner")
    before = datetime(2020, 1, 1, tzinfo=UTC)
    for cube_id, options, words in (
        (ids[0], {}, "it is expired"),
        (ids[1], {}, "not true since 2024-05-01"),
        (ids[2], {}, "it is archived"),
        (ids[4], {"scope": narrow}, "belongs to session 's1'"),
        (ids[4], {"scope": agent}, "belongs to agent None"),
        (ids[4], {"as_of": before}, "true only since"),
    ):
        placing = memory.explain(cube_id, "lantern", **options).placing
        assert placing.rank is None
        assert words in placing.reason
    assert memory.explain(ids[3], "lantern").placing.rank is not None
    filtered = SearchOptions(where=Filter(label="kept"))
    placing = explain(memory._parts, ids[4], memory.scope, "lantern", filtered).placing
    assert (placing.rank, placing.num_candidates) == (None, 0)
    assert "the filter leaves it out" in placing.reason


def test_what_another_user_shares_is_said_to_be_another_users(memory: MemoryOS) -> None:
    bo = Scope("local", "bo")
    cube_id = memory.add("a shared lantern", scope=bo).cube_ids[0]
    memory.update(cube_id, grants=[Grant(memory.scope.user, "read")], force=True, scope=bo)
    placing = memory.explain(cube_id, "lantern").placing
    assert placing.rank is None
    assert "belongs to user 'bo'" in placing.reason


def test_what_is_erased_or_past_its_retention_is_not_known(clock, memory: MemoryOS) -> None:
    erased, over = memory.add(["one lantern", "two lanterns"], keep_for=timedelta(hours=1)).cube_ids
    memory.forget(erased, act="erase")
    clock.advance(hours=2)
    for cube_id in (erased, over):
        with pytest.raises(CubeNotFoundError):
            memory.explain(cube_id, "lantern")


def test_without_a_question_it_tells_origin_changes_and_use(memory: MemoryOS) -> None:
    first, second = (memory.add(text).cube_ids[0] for text in ("the lantern is red", "the lantern is blue"))
    memory.forget(first, act="supersede", by=second)
    memory.search("lantern blue")
    found = memory.explain(first)
    assert found.placing is None
    assert [row.kind for row in found.journal] == ["create", "supersede"]
    assert [(child, edge.relation.value) for child, _, edge in found.children] == [(second, "supersedes")]
    assert memory.explain(second).usage.uses == 1


def test_a_cube_among_more_than_ten_thousand_has_its_place(folder) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        ids = memory.add([f"harbour {number}" for number in range(10_050)]).cube_ids
        placing = memory.explain(ids[-1], "harbour 10049").placing
        assert (placing.rank, placing.num_candidates) == (1, 10_050)
