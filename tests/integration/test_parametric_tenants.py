"""P22 for adapters: who is not theirs sees nothing of them, by no verb."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.parametric_models import ASKED, SAID, TEXTS, fresh_engine, opened

from engramos.errors import AccessDeniedError, CubeNotFoundError, InvalidInputError
from engramos.memory import MemoryOS
from engramos.parametric.editors.base import Request
from engramos.scope import Scope

EDITOR = '{ method="rome", num_prefixes=0, clamp=8.0, steps=2 }'
OTHERS = (Scope("other", "local"), Scope("local", "bert"), Scope("local", "local", "agent"))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MemoryOS, str, str]]:
    folder = tmp_path_factory.mktemp("tenants") / "memory"
    with MemoryOS.open(folder, embedder="hashing", tenant="local", user="local") as memory:
        (source,) = memory.add(TEXTS[0]).cube_ids
        with opened(memory) as adapters:
            (cube,) = adapters.learn().adapters
        yield memory, source, cube.id


@pytest.mark.parametrize("scope", OTHERS, ids=str)
def test_nobody_else_finds_attaches_or_lists_an_adapter(learnt: tuple[MemoryOS, str, str], scope: Scope) -> None:
    memory, _, _ = learnt
    with memory.parametric(fresh_engine(), scope=scope, writer="knn") as theirs:
        assert theirs.list() == ()
        assert theirs.route(ASKED[0]).adapter_id is None
        assert theirs.answer(ASKED[0], max_tokens=4)[0].source == "base"
        assert theirs.recall(ASKED[0], max_tokens=4).adapter_id is None
        assert theirs.retain().recall == {}
        assert theirs.learn().plan.shards == ()
        with pytest.raises(InvalidInputError, match="nothing to roll back"):
            theirs.rollback()


@pytest.mark.parametrize("scope", OTHERS[:2], ids=str)
def test_an_id_that_is_known_opens_nothing(learnt: tuple[MemoryOS, str, str], scope: Scope, tmp_path: Path) -> None:
    memory, source, cube_id = learnt
    with memory.parametric(fresh_engine(), scope=scope, writer="knn") as theirs:
        for act in (
            theirs.probe,
            theirs.demote,
            theirs.rollback,
            theirs.undo,
            theirs.forget,
            lambda one: theirs.export(one, tmp_path / "out"),
            lambda one: theirs.merge([one, source]),
        ):
            with pytest.raises((CubeNotFoundError, AccessDeniedError)):
                act(cube_id)
        for act in (theirs.learn, theirs.forget):
            with pytest.raises((CubeNotFoundError, AccessDeniedError)):
                act(source)
    with opened(memory) as adapters:
        assert adapters.answer(ASKED[0], max_tokens=8)[0].text == SAID[0]


def test_the_same_words_are_learnt_apart_and_forgotten_apart(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing", user="ana") as memory:
        bert = Scope(memory.scope.tenant, "bert")
        mine = memory.add(list(TEXTS)).cube_ids
        memory.add(list(TEXTS), scope=bert)
        with opened(memory) as own, opened(memory, scope=bert) as theirs:
            (first,), (second,) = own.learn().adapters, theirs.learn().adapters
            assert first.payload.attributes["adapter_digest"] == second.payload.attributes["adapter_digest"]
            own.forget(mine)
            assert own.list() == ()
            assert [one.cube.id for one in theirs.list()] == [second.id]
        with opened(memory, scope=bert) as again:
            assert again.answer(ASKED[0], max_tokens=8)[0].text == SAID[0], "a file that another needs was erased"
        assert memory.verify().findings == ()


def test_what_was_superseded_for_one_leaves_the_files_of_the_other(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing", user="ana") as memory:
        bert = Scope(memory.scope.tenant, "bert")
        mine = memory.add(list(TEXTS)).cube_ids
        memory.add(list(TEXTS), scope=bert)
        with opened(memory) as own, opened(memory, scope=bert) as theirs:
            own.learn()
            theirs.learn()
            own.forget(mine, act="supersede")
        with opened(memory, scope=bert) as again:
            assert again.answer(ASKED[0], max_tokens=8)[0].text == SAID[0]


def test_edits_of_one_user_do_not_act_for_another_once_closed(folder: Path) -> None:
    model = fresh_engine()
    ids = model.tokens("Ana Lima lives in")
    with MemoryOS.open(folder, embedder="hashing", user="ana") as memory:
        before = model.prefill(ids, model.new_cache())
        with opened(memory, model) as own:
            own.edit(Request("Ana Lima lives in", "Ana Lima", "Q"), editor=EDITOR)
        with opened(memory, model, scope=Scope(memory.scope.tenant, "bert")) as theirs:
            assert theirs.list() == ()
            assert model.prefill(ids, model.new_cache()).equal(before)
