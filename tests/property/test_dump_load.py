"""P27: a random memory, dumped and loaded into a new folder, is the same by its digest and by what it finds."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.errors import RequestError
from engramos.memory import MemoryOS
from engramos.rows import Filter
from engramos.vault.archive import ArchiveReader
from engramos.verbs.forget import ALL_STATES

WORDS = "lisbon porto sister invoice piano summer garden doctor train birthday".split()
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
).filter(lambda text: bool(text.strip()))
STEPS = st.one_of(
    st.tuples(st.just("add"), TEXTS, st.floats(0.0, 1.0)),
    st.tuples(st.just("update"), st.integers(0, 9), TEXTS),
    st.tuples(st.sampled_from(["supersede", "expire", "erase", "by"]), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("restore"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("search"), TEXTS, st.just(0)),
)


def play(memory: MemoryOS, steps: list[tuple]) -> None:
    """Take the steps; those that the lifecycle forbids are left out."""
    ids: list[str] = []
    for what, first, second in steps:
        try:
            if what == "add":
                ids.append(memory.add(first, trust=second, labels=["a"], session="s").cube_ids[0])
            elif what == "search":
                memory.search(first)
            elif not ids:
                continue
            elif what == "update":
                memory.update(ids[first % len(ids)], text=second, force=True)
            elif what == "restore":
                memory.restore(ids[first % len(ids)], version=second or None)
            elif what == "by":
                memory.forget(ids[first % len(ids)], act="supersede", by=ids[second % len(ids)])
            else:
                memory.forget(ids[first % len(ids)], act=what)
        except RequestError:
            continue


def content(memory: MemoryOS) -> list:
    """Return all versions and tombstones, by the verbs that read them."""
    cubes = memory.list(Filter(states=ALL_STATES), limit=1_000)
    return [memory.history(cube.id).versions for cube in cubes], memory._parts.vault.tombstones(memory.scope)


def digest_of(path: Path) -> str:
    with ArchiveReader(path) as archive:
        archive.check()
        return archive.info["digest"]


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=14), st.sampled_from(["none", "hashing"]), st.lists(TEXTS, min_size=1, max_size=2))
def test_a_dumped_memory_is_the_same_when_it_is_loaded(steps: list, embedder: str, questions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with MemoryOS.open(folder / "a", user="ana", embedder=embedder) as memory:
            play(memory, steps)
            dumped = memory.dump(folder / "a.engramos")
            before, usage = content(memory), memory._parts.vault.counts(memory.scope)["by_state"]
            hits = [[hit.id for hit in memory.search(question)] for question in questions]
        with MemoryOS.open(folder / "b", user="ana", embedder=embedder) as memory:
            loaded = memory.load(folder / "a.engramos")
            assert (loaded.num_cubes, loaded.num_versions) == (dumped.num_cubes, dumped.num_versions)
            assert content(memory) == before
            assert memory._parts.vault.counts(memory.scope)["by_state"] == usage
            assert [[hit.id for hit in memory.search(question)] for question in questions] == hits
            assert memory.verify().findings == ()
            rows = len(memory._parts.vault.journal("local"))
            again = memory.load(folder / "a.engramos")
            assert (again.num_cubes, again.num_versions, again.num_known) == (0, 0, dumped.num_cubes)
            assert len(memory._parts.vault.journal("local")) == rows
            memory.dump(folder / "b.engramos")
        assert digest_of(folder / "a.engramos") == digest_of(folder / "b.engramos")
