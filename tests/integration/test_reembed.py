"""reembed: one vector of the new embedder for every searched cube, whatever happens meanwhile."""

import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from engramos import MemoryOS
from engramos.changes import Archive, Freeze, Request
from engramos.clock import new_id, now
from engramos.cube import State
from engramos.errors import ConfigError, EmbedderMismatchError
from engramos.lifecycle import move
from engramos.scope import Scope

OLD, NEW = "{ method = 'hashing', dims = 64 }", "{ method = 'hashing', dims = 128 }"
REEMBED = f"""
import sys
from engramos import MemoryOS
memory = MemoryOS.open_for_reembed(sys.argv[1], embedder="{NEW}", batch=8, failpoint=sys.argv[2] or None)
print("made", memory.reembed(progress=lambda num: print(num, flush=True)), flush=True)
memory.close()
"""
SEARCH = f"""
import sys
from engramos import MemoryOS
from engramos.errors import EmbedderMismatchError
memory = MemoryOS.open(sys.argv[1], user="ana", embedder="{OLD}")
count = 0
try:
    while True:
        assert len(memory.search("harbour lantern")) == 10, "too few"
        count += 1
        if count == 1:
            print("searching", flush=True)
except EmbedderMismatchError as error:
    assert "engramos reembed" in str(error)
    print(count)
"""


def rows(folder: Path, statement: str) -> list[tuple]:
    connection = sqlite3.connect(folder / "vault.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def check_whole(folder: Path) -> None:
    """Check that each searched cube has exactly one vector, of the current embedder, and that no other is left."""
    assert [(name, current) for name, current in rows(folder, "SELECT fingerprint, is_current FROM embedders")] == [
        ("hashing(dims=128)", 1)
    ]
    searched = Counter(key for (key,) in rows(folder, "SELECT cube_key FROM cubes WHERE terms IS NOT NULL"))
    vectors = rows(folder, "SELECT v.cube_key, length(v.vector) FROM vectors AS v JOIN embedders USING (embedder_key)")
    assert len(vectors) == rows(folder, "SELECT count(*) FROM vectors")[0][0]
    assert Counter(key for key, _ in vectors) == searched
    assert {size for _, size in vectors} <= {256}


def check_vectors_are_of_their_texts(folder: Path) -> None:
    """Check that each vector is the one that its cube would be given now."""
    stored = dict(rows(folder, "SELECT cube_id, vector FROM vectors JOIN cubes USING (cube_key)"))
    with MemoryOS.open(folder, embedder=NEW) as memory:
        for tenant in memory._parts.vault.tenants():
            cubes = memory._parts.vault.get_many(tenant, list(stored)).values()
            for cube, entry in zip(cubes, memory._parts.entries(list(cubes)), strict=True):
                assert stored.pop(cube.id) == entry.vector, cube
    assert stored == {}


def commit(memory: MemoryOS, change: object, scope: Scope) -> None:
    memory._parts.vault.commit([change], scope=scope, request=Request("test", new_id()))


def lines(num: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = "harbour lantern cinnamon violin granite saffron meadow kettle ledger".split()
    return [f"harbour lantern {number} " + " ".join(rng.choices(words, k=8)) for number in range(num)]


def test_cubes_of_every_state_tenant_and_user_come_out_whole(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    scopes = [Scope(tenant, user) for tenant in ("acme", "beta") for user in ("ana", "bo")]
    with MemoryOS.open(folder, embedder=OLD) as memory:
        hidden = []
        for scope in scopes:
            ids = memory.add(lines(30), scope=scope).cube_ids
            memory.forget(ids[0], act="expire", scope=scope)
            memory.forget(ids[1], act="supersede", scope=scope)
            memory.forget(ids[2], act="erase", scope=scope)
            at = now()
            commit(memory, Archive(move(memory.get(ids[3], scope=scope), State.ARCHIVED, at, actor="t")), scope)
            commit(memory, Freeze(move(memory.get(ids[4], scope=scope), State.FROZEN, at, actor="t")), scope)
            memory.update(ids[5], text="another text", force=True, scope=scope)
            hidden += [(scope, ids[0]), (scope, ids[3])]
    made = []
    with MemoryOS.open_for_reembed(folder, embedder=NEW, batch=7) as memory:
        assert memory.reembed(progress=made.append) == sum(made) == 4 * 27
        check_whole(folder)
        for scope, cube_id in hidden:
            memory.restore(cube_id, scope=scope)
        assert memory.reembed() == 0
    check_whole(folder)
    check_vectors_are_of_their_texts(folder)
    with pytest.raises(EmbedderMismatchError, match="engramos reembed"):
        MemoryOS.open(folder, embedder=OLD)


def test_what_the_old_embedder_writes_meanwhile_is_there_after_the_switch(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with (
        MemoryOS.open(folder, user="ana", embedder=OLD) as old,
        MemoryOS.open_for_reembed(folder, user="ana", embedder=NEW, batch=5) as new,
    ):
        ids = old.add(lines(40)).cube_ids
        old.forget(ids[30], act="expire")
        steps = iter(
            [
                lambda: old.add("an added harbour"),
                lambda: old.update(ids[0], text="a new text for a cube that has its vector already", force=True),
                lambda: old.update(ids[1], speaker="Bo", force=True),
                lambda: old.update(ids[2], labels=["kept"], force=True),
                lambda: old.update(ids[3], valid_at=now().replace(year=2019), force=True),
                lambda: old.forget(ids[4], act="erase"),
                lambda: old.restore(ids[30]),
                lambda: old.forget(ids[39], act="supersede"),
            ]
        )
        new.reembed(progress=lambda num: next(steps, lambda: None)())
        assert next(steps, None) is None, "some step was not taken: use more cubes"
        check_whole(folder)
        with pytest.raises(EmbedderMismatchError, match="engramos reembed"):
            old.add("too late")
        assert len(new.list(limit=100)) == 40
    check_vectors_are_of_their_texts(folder)


def test_searches_go_on_in_another_process_and_in_another_thread(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open(folder, user="ana", embedder=OLD) as memory:
        memory.add(lines(300))
    reader = subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "searching\n"
    found: list[object] = []

    def search() -> None:
        with MemoryOS.open(folder, user="ana", embedder=OLD) as memory:
            has_opened.set()
            try:
                while True:
                    found.append(len(memory.search("harbour lantern")))
            except EmbedderMismatchError as error:
                found.append(error)

    has_opened = threading.Event()
    thread = threading.Thread(target=search)
    thread.start()
    has_opened.wait(30)
    with MemoryOS.open_for_reembed(folder, user="ana", embedder=NEW, batch=8) as memory:
        assert memory.reembed() == 300
        thread.join(60)
        out, problem = reader.communicate(timeout=60)
        assert (reader.returncode, problem) == (0, "")
        assert int(out) >= 1
        *counts, last = found
        assert counts
        assert set(counts) == {10}
        assert isinstance(last, EmbedderMismatchError)
        assert len(memory.search("harbour lantern")) == 10


def test_killed_at_any_moment_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open(folder, embedder=OLD) as memory:
        for user in ("ana", "bo"):
            memory.add(lines(120), scope=Scope("local", user))
    rng = random.Random(20240501)
    count = "SELECT count(*) FROM vectors WHERE length(vector) = 256"
    stored = 0
    for number in range(8):
        point = f"{rng.choice(['before_apply', 'before_commit', 'after_commit'])}:kill:{rng.randint(1, 4)}"
        process = subprocess.Popen(
            [sys.executable, "-c", REEMBED, str(folder), point if number % 2 else ""], stdout=subprocess.PIPE, text=True
        )
        if number % 2 == 0:
            for _ in range(rng.randint(0, 3)):
                process.stdout.readline()
            process.kill()
        out, _ = process.communicate(timeout=60)
        assert process.returncode == -9
        assert "made" not in out
        before, stored = stored, rows(folder, count)[0][0]
        assert stored >= before
        with MemoryOS.open(folder, user="ana", embedder=OLD) as memory:
            assert len(memory.search("harbour lantern")) == 10
    assert 0 < stored < 240
    ended = subprocess.run(
        [sys.executable, "-c", REEMBED, str(folder), ""], capture_output=True, text=True, check=True, timeout=60
    )
    assert f"made {240 - stored}\n" in ended.stdout
    check_whole(folder)
    check_vectors_are_of_their_texts(folder)


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_killed_in_the_switch_either_all_is_old_or_all_is_new(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open(folder, user="ana", embedder=OLD) as memory:
        memory.add(lines(8))
    process = subprocess.run([sys.executable, "-c", REEMBED, str(folder), f"{point}:kill:2"], capture_output=True)
    assert process.returncode == -9
    assert process.stdout == b"8\n"
    with MemoryOS.open(folder, user="ana", embedder=OLD if point == "before_commit" else NEW) as memory:
        assert len(memory.search("harbour lantern")) == 8
    assert len(rows(folder, "SELECT 1 FROM vectors")) == (16 if point == "before_commit" else 8)
    ended = subprocess.run([sys.executable, "-c", REEMBED, str(folder), ""], capture_output=True, check=True)
    assert ended.stdout.endswith(b"made 0\n")
    check_whole(folder)


def test_the_bytes_of_the_old_vectors_are_gone_after_a_scrub(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open(folder, user="ana", embedder=OLD) as memory:
        memory.add(lines(50))
        old = [vector for (vector,) in rows(folder, "SELECT vector FROM vectors")]
        assert len({bytes(vector) for vector in old}) == 50
        assert np.isfinite(np.frombuffer(old[0], "<f2")).all()

    def found() -> int:
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        return sum(any(vector in data for data in files) for vector in old)

    assert found() == 50
    with MemoryOS.open_for_reembed(folder, user="ana", embedder=NEW) as memory:
        memory.reembed()
        victim = memory.add("to be erased").cube_ids
        assert memory.forget(victim, act="erase").is_scrubbed
        assert found() == 0


def test_without_an_embedder_there_is_nothing_to_make_vectors_with(tmp_path: Path) -> None:
    with (
        MemoryOS.open(tmp_path / "memory", embedder="none") as memory,
        pytest.raises(ConfigError, match="ENGRAMOS_EMBEDDER"),
    ):
        memory.reembed()


def test_an_empty_memory_is_given_its_embedder(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with MemoryOS.open_for_reembed(folder, embedder=NEW) as memory:
        assert memory.reembed() == 0
    with pytest.raises(EmbedderMismatchError):
        MemoryOS.open(folder, embedder=OLD)
