"""Two embedders of one memory: they are never mixed, and who comes with the wrong one is told what to do."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from engramos import MemoryOS
from engramos.embedders.base import Embedder
from engramos.embedders.hashing import Hashing
from engramos.errors import EmbedderMismatchError
from engramos.plaintext.plan import DENSE

TEXTS = ["the ferry goes at nine", "her violin is in the attic", "saffron grows in Iran", "the kettle is broken"]


@dataclass(frozen=True)
class Rolled(Embedder):
    """Hashing with its cells turned: as long as hashing's vectors, and of no use beside them."""

    by: int = 7
    inner: Hashing = field(default_factory=lambda: Hashing(64))

    @property
    def fingerprint(self) -> str:
        return f"rolled(by={self.by})"

    @property
    def dims(self) -> int:
        return self.inner.dims

    def embed(self, texts):
        return np.roll(self.inner.embed(texts), self.by, axis=1)


HASHING = "{ method = 'hashing', dims = 64 }"


def opened_with(folder: Path, embedder: Embedder) -> MemoryOS:
    memory = MemoryOS.open_for_reembed(folder, user="ana", embedder=HASHING)
    memory._parts.made_embedder = embedder
    return memory


def scores(memory: MemoryOS, question: str) -> dict[str, tuple[float, ...]]:
    return {hit.text: tuple(round(part, 4) for part in hit.parts.values()) for hit in memory.search(question)}


def fresh_scores(folder: Path, texts: list[str], question: str) -> dict[str, tuple[float, ...]]:
    with opened_with(folder, Rolled()) as fresh:
        fresh.add(texts)
        return scores(fresh, question)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def test_an_opener_with_another_embedder_is_told_to_reembed(folder: Path) -> None:
    with MemoryOS.open(folder, embedder=HASHING) as memory:
        memory.add(TEXTS)
    with pytest.raises(EmbedderMismatchError, match=r"hashing\(dims=64\).*hashing\(dims=128\).*engramos reembed"):
        MemoryOS.open(folder, embedder="{ method = 'hashing', dims = 128 }")


def test_an_open_index_never_mixes_vectors_of_equal_length_of_two_embedders(folder: Path, tmp_path: Path) -> None:
    with MemoryOS.open(folder, user="ana", embedder=HASHING) as old, opened_with(folder, Rolled()) as new:
        old.add(TEXTS)
        before = scores(old, "ferry at nine")
        new.reembed()
        with pytest.raises(EmbedderMismatchError):
            old.search("ferry at nine")
        with pytest.raises(EmbedderMismatchError):
            old.add("a ferry of the old embedder")
        new.add("another ferry")
        assert scores(new, "ferry at nine") == fresh_scores(
            tmp_path / "fresh", [*TEXTS, "another ferry"], "ferry at nine"
        )
        assert before != scores(new, "ferry at nine")


def test_a_third_opener_that_waited_with_the_new_embedder_sees_only_its_vectors(folder: Path, tmp_path: Path) -> None:
    with (
        opened_with(folder, Hashing(64)) as old,
        opened_with(folder, Rolled()) as new,
        opened_with(folder, Rolled()) as third,
    ):
        old.add(TEXTS)
        with pytest.raises(EmbedderMismatchError):
            third.search("ferry at nine")
        new.reembed()
        assert scores(third, "ferry at nine") == fresh_scores(tmp_path / "fresh", TEXTS, "ferry at nine")


def test_there_and_back_again_between_two_looks_leaves_no_vector_of_the_other(folder: Path) -> None:
    with opened_with(folder, Hashing(64)) as old, opened_with(folder, Rolled()) as new:
        old.add(TEXTS)
        before = scores(old, "ferry at nine")
        new.reembed()
        with opened_with(folder, Hashing(64)) as back:
            back.reembed()
        assert scores(old, "ferry at nine") == before


def test_a_memory_begun_without_an_embedder_is_searched_by_words_until_it_is_reembedded(folder: Path) -> None:
    with MemoryOS.open(folder, user="ana", embedder="none") as memory:
        memory.add(TEXTS)
    with MemoryOS.open(folder, user="ana", embedder=HASHING) as memory, opened_with(folder, Hashing(64)) as other:
        assert memory.search("ferry")[0].text == TEXTS[0]
        assert memory.search("ferry", plan=DENSE) == []
        memory.add("a kettle with a vector")
        assert [hit.text for hit in other.search("kettle", plan=DENSE)] == ["a kettle with a vector"]
        assert memory.reembed() == len(TEXTS)
        for one in (memory, other):
            assert {hit.text for hit in one.search("kettle", plan=DENSE)} >= {TEXTS[3], "a kettle with a vector"}


def test_an_index_without_vectors_takes_them_all_up_after_the_switch(folder: Path) -> None:
    """The switch alone changes nothing in the journal; an open index must see it all the same."""
    with MemoryOS.open(folder, user="ana", embedder="none") as memory:
        memory.add(TEXTS)
    with opened_with(folder, Rolled()) as reader, opened_with(folder, Rolled()) as writer:
        looked = []
        writer.reembed(progress=lambda num: looked.append(reader.search("kettle", plan=DENSE)))
        assert looked == [[]]
        assert reader.search("kettle", plan=DENSE)[0].text == TEXTS[3]


def test_without_an_embedder_a_memory_of_any_is_searched_by_words(folder: Path) -> None:
    with MemoryOS.open(folder, user="ana", embedder=HASHING) as memory:
        memory.add(TEXTS)
    with MemoryOS.open(folder, user="ana", embedder="none") as memory:
        memory.add("a ferry without a vector")
        assert {hit.text for hit in memory.search("ferry")} == {TEXTS[0], "a ferry without a vector"}
    with MemoryOS.open(folder, user="ana", embedder=HASHING) as memory:
        assert memory.reembed() == 1
        assert memory.reembed() == 0
