"""A nearest-neighbour index beside a memory: a cache as good as exact search that keeps nothing that is gone."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.vault.test_ann import METHODS

from engramos import MemoryOS
from engramos.plaintext.plan import DENSE
from engramos.scope import Scope
from engramos.vault.ann_cache import STAMP

TOPICS = ("harbour", "violin", "bakery", "glacier", "orchard", "tram", "lantern", "chess", "marathon", "pottery")
NUM = 400


def texts(start: int, num: int) -> list[str]:
    return [
        f"{TOPICS[number % 10]} {TOPICS[number // 7 % 10]} visit number {number}"
        for number in range(start, start + num)
    ]


def opened(folder: Path, method: str = "lists", **settings) -> MemoryOS:
    return MemoryOS.open(folder, embedder="hashing", ann=method, ann_from=100, **settings)


def near(memory: MemoryOS, scope: Scope | None = None):
    """Return the index's nearest-neighbour index, built; None where it has none."""
    memory.search("harbour", plan=DENSE, scope=scope)
    index = memory._parts.indexes[(scope or memory.scope).tenant, (scope or memory.scope).user]
    if index.near is not None:
        index.near.wait()
    return index.near


def uses_it(memory: MemoryOS, scope: Scope | None = None) -> bool:
    """Return whether a search is answered by what was built."""
    one = near(memory, scope)
    index = memory._parts.index(scope or memory.scope)
    vector = memory._parts.embedder.embed_query("harbour")
    return one is not None and one.find(index, vector, 10) is not None


def found(memory: MemoryOS, question: str, **options) -> list[str]:
    return [hit.text for hit in memory.search(question, plan=DENSE, **options)]


def stamps(folder: Path) -> list[Path]:
    return sorted((folder / "ann").rglob(STAMP))


@pytest.mark.parametrize("name", METHODS)
def test_hits_are_those_of_exact_search(name: str, tmp_path: Path) -> None:
    with opened(tmp_path, name) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
        questions = [f"{one} {other} visit" for one in TOPICS for other in TOPICS[:3]]
        by_index = [found(memory, question) for question in questions]
    with MemoryOS.open(tmp_path, embedder="hashing") as memory:
        exact = [found(memory, question) for question in questions]
    shares = [len(set(one) & set(other)) / 10 for one, other in zip(by_index, exact, strict=True)]
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("name", METHODS)
def test_what_was_built_is_found_again_after_reopening(name: str, tmp_path: Path) -> None:
    with opened(tmp_path, name) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
        first = found(memory, "violin lantern visit")
    built = stamps(tmp_path)
    with opened(tmp_path, name) as memory:
        assert uses_it(memory)
        assert found(memory, "violin lantern visit") == first
    assert stamps(tmp_path) == built
    assert len(built) == 1


@pytest.mark.parametrize("name", METHODS)
def test_writes_and_deletes_count_at_once(name: str, tmp_path: Path) -> None:
    with opened(tmp_path, name) as memory:
        (changed, expired, *_) = memory.add(texts(0, NUM)).cube_ids
        assert uses_it(memory)
        memory.add("a zeppelin over the harbour")
        assert found(memory, "zeppelin over the harbour")[0] == "a zeppelin over the harbour"
        old, gone = memory.get(changed).text, memory.get(expired).text
        assert old in found(memory, old)
        memory.update(changed, text="a submarine under the harbour", expected_version=1)
        memory.forget(expired, act="expire")
        assert found(memory, "submarine under the harbour")[0] == "a submarine under the harbour"
        for limit in (10, 1_000):
            assert not {old, gone} & set(found(memory, old, limit=limit) + found(memory, gone, limit=limit))
        assert uses_it(memory)


@pytest.mark.parametrize("name", METHODS)
def test_an_erasure_takes_the_vector_from_the_files(name: str, tmp_path: Path) -> None:
    with opened(tmp_path, name) as memory:
        ids = memory.add(texts(0, NUM)).cube_ids
        assert uses_it(memory)
        text = memory.get(ids[5]).text
        before = stamps(tmp_path)
        assert memory.forget(ids[5], act="erase").is_scrubbed
        assert not before[0].parent.exists()
        assert text not in found(memory, text, limit=1_000)
        assert uses_it(memory)
        assert text not in found(memory, text, limit=1_000)
        keys = np.load(stamps(tmp_path)[0].parent / "keys.npy")
        assert len(keys) == NUM - 1


def test_what_was_built_while_a_cube_was_erased_is_thrown_away(tmp_path: Path, monkeypatch) -> None:
    import engramos.vault.ann.lists as module

    with opened(tmp_path) as memory:
        ids = memory.add(texts(0, NUM)).cube_ids
        built = module.Lists.build

        def erasing(self, folder, vectors):
            monkeypatch.setattr(module.Lists, "build", built)
            built(self, folder, vectors)
            memory._parts.indexes.clear()
            memory.forget(ids[5], act="erase")
            folder.mkdir(parents=True)
            np.save(folder / "keys.npy", np.zeros((1, 2)))

        monkeypatch.setattr(module.Lists, "build", erasing)
        near(memory)
        assert stamps(tmp_path) == []
        assert not list((tmp_path / "ann").rglob("*.npy"))
        assert uses_it(memory)


def test_users_and_tenants_have_files_of_their_own(tmp_path: Path) -> None:
    ana, ben, other = Scope("local", "ana"), Scope("local", "ben"), Scope("firm", "ana")
    with opened(tmp_path) as memory:
        for start, scope in enumerate((ana, ben, other)):
            memory.add(texts(1_000 * start, 150), scope=scope)
            assert uses_it(memory, scope)
        assert len(stamps(tmp_path)) == 3
        for start, scope in enumerate((ana, ben, other)):
            assert set(found(memory, "harbour visit", scope=scope, limit=150)) <= set(texts(1_000 * start, 150))


def test_a_filter_comes_before_the_nearest(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.add(texts(0, NUM))
        memory.add("pottery far from any harbour", session="s2")
        assert uses_it(memory)
        scope = Scope("local", "me", session="s2")
        assert found(memory, "chess marathon harbour", scope=scope) == ["pottery far from any harbour"]


def test_a_small_memory_has_none_and_a_setting_turns_it_off(tmp_path: Path) -> None:
    with opened(tmp_path / "small") as memory:
        memory.add(texts(0, 99))
        assert near(memory) is None
    with MemoryOS.open(tmp_path / "off", embedder="hashing", ann_from=100) as memory:
        memory.add(texts(0, NUM))
        assert near(memory) is None


def test_deleting_the_folder_loses_nothing(tmp_path: Path) -> None:
    import shutil

    with opened(tmp_path) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
        first = found(memory, "violin lantern visit")
        shutil.rmtree(tmp_path / "ann")
        assert found(memory, "violin lantern visit") == first
        assert uses_it(memory)
        assert found(memory, "violin lantern visit") == first
        assert memory.verify().findings == ()


def test_much_that_is_new_makes_it_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
        memory.add(texts(NUM, 1_001))
        assert uses_it(memory)
        near(memory)
        assert len(np.load(stamps(tmp_path)[0].parent / "keys.npy")) == NUM + 1_001
        assert len(stamps(tmp_path)) == 1


def test_another_method_or_embedder_builds_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.add(texts(0, NUM))
        assert uses_it(memory)
    with opened(tmp_path, "{ method = 'lists', most_copies = 2 }") as memory:
        assert uses_it(memory)
    (stamp,) = stamps(tmp_path)
    assert "most_copies=2" in json.loads(stamp.read_text())["method"]
    with MemoryOS.open_for_reembed(
        tmp_path, embedder="{ method = 'hashing', dims = 128 }", ann="lists", ann_from=100
    ) as memory:
        memory.reembed()
        assert uses_it(memory)
    assert len(stamps(tmp_path)) == 1
