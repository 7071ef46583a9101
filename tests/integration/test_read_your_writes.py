"""P6: what was acknowledged is found at once; what was deleted is found never again; both as a plain scan would say."""

import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos.errors import CubeNotFoundError
from engramos.memory import MemoryOS
from engramos.messages import Message
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.plan import DEFAULT, LEXICAL
from engramos.rows import Filter

WORDS = [
    f"{first}{last}" for first in ("amber", "birch", "coral", "dune") for last in ("fox", "gate", "hill", "ink", "jar")
]
STEPS = 1_000
OTHER = """
import sys
from engramos.memory import MemoryOS
with MemoryOS.open(sys.argv[1], embedder="hashing") as memory:
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        if verb == "add":
            print(memory.add(rest).cube_ids[0], flush=True)
        else:
            memory.forget(rest, act="erase")
            print("done", flush=True)
"""


def scan(texts: dict[str, str], word: str) -> set[str]:
    """Return the ids of the texts that hold a word."""
    return {cube_id for cube_id, text in texts.items() if word in text.split()}


def check(memory: MemoryOS, texts: dict[str, str], word: str) -> None:
    """Compare search by words, search by both, full text and list with a scan."""
    expected = scan(texts, word)
    assert {hit.id for hit in memory.search(word, limit=10_000, plan=LEXICAL)} == expected
    everything = {hit.id for hit in memory.search(word, limit=10_000, plan=DEFAULT)}
    assert expected <= everything <= texts.keys()
    assert {cube.id for cube in memory.list(Filter(match=word), limit=10_000)} == expected


@pytest.mark.parametrize("embedder", ["none", "hashing"])
def test_a_thousand_adds_and_deletes_are_found_and_gone_at_once(folder: Path, embedder: str) -> None:
    dice = random.Random(6)
    texts: dict[str, str] = {}
    ghosts = 0
    with MemoryOS.open(folder, embedder=embedder, durability="relaxed") as memory:
        for _ in range(STEPS):
            if texts and dice.random() < 0.35:
                cube_id = dice.choice(list(texts))
                act = dice.choice(["expire", "erase", "supersede"])
                memory.forget(cube_id, act=act)
                text = texts.pop(cube_id)
                found = {hit.id for hit in memory.search(text, limit=10_000)}
                ghosts += cube_id in found
                if act == "erase":
                    with pytest.raises(CubeNotFoundError):
                        memory.get(cube_id)
            else:
                text = " ".join(dice.choices(WORDS, k=4))
                (cube_id,) = memory.add(text).cube_ids
                texts[cube_id] = text
                assert memory.get(cube_id).text == text
                word = text.split()[0]
                assert {hit.id for hit in memory.search(word, limit=10_000, plan=LEXICAL)} == scan(texts, word)
        for word in WORDS:
            assert {hit.id for hit in memory.search(word, limit=10_000, plan=LEXICAL)} == scan(texts, word)
    assert ghosts == 0


def test_what_another_process_wrote_is_found_at_the_next_search(folder: Path) -> None:
    dice = random.Random(7)
    texts: dict[str, str] = {}
    with MemoryOS.open(folder, embedder="hashing") as memory:
        program = [sys.executable, "-c", OTHER, str(folder)]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None
            assert other.stdout is not None

            def ask(line: str) -> str:
                print(line, file=other.stdin, flush=True)
                return other.stdout.readline().strip()

            for step in range(150):
                text = " ".join(dice.choices(WORDS, k=3))
                cube_id = memory.add(text).cube_ids[0] if step % 2 else ask(f"add {text}")
                texts[cube_id] = text
                check(memory, texts, text.split()[0])
                if step % 3 == 0:
                    gone = dice.choice(list(texts))
                    text = texts.pop(gone)
                    if step % 2:
                        ask(f"erase {gone}")
                    else:
                        memory.forget(gone, act="erase")
                    check(memory, texts, text.split()[0])
        assert other.returncode == 0
        assert {cube.id for cube in memory.list(limit=10_000)} == texts.keys()


def test_an_update_is_found_by_its_new_words_and_no_longer_by_its_old(memory: MemoryOS) -> None:
    (cube_id,) = memory.add("amberfox").cube_ids
    memory.update(cube_id, text="birchgate", expected_version=1)
    assert [hit.id for hit in memory.search("birchgate", plan=LEXICAL)] == [cube_id]
    assert memory.search("amberfox", plan=LEXICAL) == []
    memory.restore(cube_id, version=1)
    assert [hit.text for hit in memory.search("amberfox", plan=LEXICAL)] == ["amberfox"]


def test_a_filter_by_state_holds_in_a_search(memory: MemoryOS) -> None:
    memory.add("amberfox")
    assert len(memory.search("amberfox", where=Filter(states=("activated",)))) == 1
    assert memory.search("amberfox", where=Filter(states=("frozen",))) == []
    assert memory.search("amberfox", where=Filter(forms=("parametric",))) == []


def test_the_least_of_two_matches_is_found_too(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        memory.add(["amberfox amberfox", "amberfox birchgate coralhill"])
        assert len(memory.search("amberfox")) == 2


def test_a_search_for_a_time_before_everything_finds_nothing(memory: MemoryOS, clock) -> None:
    before = clock.at
    clock.advance(days=1)
    memory.add("amberfox")
    assert memory.search("amberfox", known_at=before) == []
    assert memory.list(known_at=before) == []


def test_exchanges_that_are_added_one_by_one_under_one_date_keep_their_order(folder: Path) -> None:
    """Each add counts places from 0: told by place, all questions would come first and all answers after them."""
    day = datetime(2024, 5, 1, tzinfo=UTC)
    with MemoryOS.open(folder, embedder="none") as memory:
        ids = [
            one
            for number in range(3)
            for one in memory.add(
                [Message(f"asked {number}", session="s", at=day), Message(f"told {number}", session="s", at=day)]
            ).cube_ids
        ]
        memory.update(ids[1], text="told 0, corrected", expected_version=1)
        for index in (memory._parts.index(memory.scope), SearchIndex()):
            if not len(index):
                index.apply(memory._parts.vault.index_delta(memory.scope, 0, 0))
            row = next(at for at in range(len(index)) if index.alive[at] and index.before[at] == -1)
            chain = []
            while row != -1:
                chain.append(index.ids[row])
                row = int(index.after[row])
            assert chain == ids
