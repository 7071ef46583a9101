"""P13: no text that a caller gives becomes SQL, and whatever is given, only errors of the tree come back."""

import random
from pathlib import Path

import pytest

from engramos.errors import EdgeError, EngramosError
from engramos.memory import MemoryOS
from engramos.messages import Message
from engramos.rows import Filter
from engramos.scope import Scope

VICTIM = Scope("victim", "vera")
SECRET = "xylographsecret"
NUM = 2_000
PIECES = """' " ; -- /* */ ) ( || \\ % _ * ? : , = < > [ ] { } ` ~ ^ NEAR AND OR NOT text: owner: rowid tenant user
    ' OR '1'='1 '; DROP TABLE cubes;-- UNION SELECT text FROM versions x') OR ('a'='a 1=1 :tenant ?1 $user @user
    pg_sleep(10) sqlite_master load_extension('x') randomblob(1000000000) json_each(:cube_ids) %00 \\x00 {0} {tenant}
    ${jndi} \ud800 \x00 \x1b[2J <script>alert(1)</script> ../../etc/passwd char(0)
    \u202e \u200b \ufeff \U0001f600""".split()
WORDS = [*PIECES, "xylographsecret", "harmless", "a", "", " ", "\n", "\t", "'", '"']


def hostile(dice: random.Random) -> str:
    """Return a text of one to eight hostile pieces."""
    return dice.choice(["", " "]).join(dice.choices(WORDS, k=dice.randint(1, 8)))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The generated texts, the same at every run."""
    dice = random.Random(13)
    return [hostile(dice) for _ in range(NUM)]


def attempts(memory: MemoryOS, text: str) -> list:
    """Return calls that give a text in the places where a verb takes one."""
    return [
        lambda: memory.add(text),
        lambda: memory.add(Message("plain", speaker=text)),
        lambda: memory.add("plain", labels=[text], session=text),
        lambda: memory.add("plain", idempotency_key=text),
        lambda: memory.add("plain", scope=Scope("local", text)),
        lambda: memory.search(text),
        lambda: memory.search("plain", where=Filter(match=text)),
        lambda: memory.search("plain", where=Filter(label=text, speaker=text, source_ref=text)),
        lambda: memory.search("plain", scope=Scope(text, text, text, text)),
        lambda: memory.list(Filter(match=text)),
        lambda: memory.list(Filter(label=text)),
        lambda: memory.list(Filter(speaker=text)),
        lambda: memory.list(Filter(source_ref=text)),
        lambda: memory.list(after=text),
        lambda: memory.list(Filter(types=(text,))),
        lambda: memory.get(text),
        lambda: memory.history(text),
        lambda: memory.forget(act="expire", subject=text, dry_run=True),
        lambda: memory.forget(text, act=text, reason=text),
    ]


def test_hostile_texts_give_answers_or_errors_of_the_tree_and_nothing_of_another(
    folder: Path, texts: list[str]
) -> None:
    with MemoryOS.open(folder, embedder="none", durability="relaxed") as memory:
        memory.add([f"the {SECRET} of vera", "a b c"], labels=["private"], scope=VICTIM)
        before = memory.stats(scope=VICTIM)
        of_the_edge = []
        num_calls = len(attempts(memory, "a"))
        for number, text in enumerate(texts):
            # each text in two places, so that every place sees two hundred of them
            for place in range(2):
                ask = attempts(memory, text)[(number * 2 + place) % num_calls]
                try:
                    answer = ask()
                except EngramosError as error:
                    of_the_edge += [(text, error)] if isinstance(error, EdgeError) else []
                    continue
                assert f"the {SECRET} of vera" not in repr(answer), text
        assert of_the_edge == []
        assert memory.stats(scope=VICTIM) == {**before, "folder_bytes": memory.stats(scope=VICTIM)["folder_bytes"]}
        assert len(memory.search(SECRET, scope=VICTIM)) == 1
        stored = memory.list(limit=10_000)
        assert {cube.text for cube in stored} <= {*texts, "plain"}


def test_a_hostile_text_that_can_be_stored_comes_back_exactly(memory: MemoryOS, texts: list[str]) -> None:
    storable = [text for text in texts if text.strip() and "\0" not in text and "\ud800" not in text][:300]
    receipt = memory.add(storable)
    assert [memory.get(cube_id).text for cube_id in receipt.cube_ids] == storable


def test_values_are_bound_and_never_part_of_a_statement(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="none") as memory:
        seen: list[str] = []
        memory._parts.vault._writer._connection.set_trace_callback(seen.append)
        with memory._parts.vault._reading("tracing") as connection:
            connection.set_trace_callback(seen.append)
        memory.add("x'; DROP TABLE cubes; --")
        memory.list(Filter(label="y' OR '1'='1"))
        # the trace shows values as SQLite quotes them: each quote doubled
        assert any("DROP TABLE" in text for text in seen)
        assert not any("x'; DROP" in text for text in seen)
        assert any("|y'' OR ''1''=''1|" in text for text in seen)
        assert len(memory.list()) == 1
